"""Errors for the user.

A `UserError` is one sentence: the rule, the value given, how to fix it. The command line prints it alone and exits
with code 2. Broken invariants of the code itself are asserts, never a `UserError`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """A user's mistake, in one sentence: the rule, the value given, how to fix it."""


class FieldError(UserError):
    """A mistake in one field of nested data, with the path of the field, such as `tools[0].function.name`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class BrokenModelError(UserError):
    """A model that computes no numbers: a mistake of whoever trained or serves it, not of a request."""


class ListError(UserError):
    """An error whose message is a list, printed line by line; in other errors, line breaks come from quoted values."""


def nearest(name: str, known: Iterable[str], least: float = 0.5) -> str:
    """Return " Did you mean 'x'?" for the closest of the `known` names, or "" if none is close.

    `least`: the smallest similarity that is close, from 0 to 1 (the same name).
    """
    close = get_close_matches(name, list(known), n=1, cutoff=least)
    return f" Did you mean '{close[0]}'?" if close else ""


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional extra.

    Raises `UserError` with the exact install command if it is missing.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise UserError(
            f"This needs the package '{missing.name}', which is not installed: pip install 'sayso[{extra}]'."
        ) from missing
