"""Convert a value given by name, in Python or in a form, to the value of an option.

Strings become paths, lists become tuples, functions their names; other conversions are refused. The ranges of numbers
are checked by `base/ranges.py`.
"""

import os
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sayso.base.errors import UserError, nearest
from sayso.base.functions import name_of

FUNCTIONS = ("gold", "reward", "sources")
"""Options that accept a function, where the command line takes its name."""


def value_of(name: str, hint: Any, value: Any) -> Any:
    """Return a value converted to the option's type. Raises `UserError` if that is not possible."""
    hint = _bare(hint)
    choices = get_args(hint) if _is_union(hint) else (hint,)
    if value is None and NoneType in choices:
        return None
    for choice in sorted(map(_bare, choices), key=lambda choice: choice in (int, float)):  # a path is no number
        found = _as(name, choice, value)
        if found is not None:
            return found
    raise UserError(f"{name} must be {_rule(choices)}; got {_shown(value)}.{_near(choices, value)}")


def _as(name: str, kind: Any, value: Any) -> Any:
    """Return the value converted to a type, or None if that is not possible."""
    if get_origin(kind) is tuple:
        if isinstance(value, str | os.PathLike) or callable(value) or not hasattr(value, "__iter__"):
            value = (value,)
        element = get_args(kind)[0]
        return tuple(value_of(name, element, part) for part in value)
    if get_origin(kind) is Literal:
        equal = (option for option in get_args(kind) if option == value and type(option) is type(value))
        return next(equal, None)
    if kind is Path:
        return Path(value) if isinstance(value, str | os.PathLike) else None
    if kind is str and name in FUNCTIONS and callable(value):
        return name_of(value)
    if kind is str:
        return os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if kind is bool:
        return value if isinstance(value, bool) else None
    return _number(kind, value) if kind in (int, float) else None


def _number(kind: type, value: Any) -> Any:
    """Return a number in the type that the command line would use, so that runs are equal; other values unchanged.

    Values that are not numbers, or out of range, are refused when the options are created.
    """
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return value
    return kind(value)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _rule(choices: tuple[Any, ...]) -> str:
    words = {str: "a string", bool: "True or False", Path: "a path", NoneType: "None"}
    rules = []
    for choice in map(_bare, choices):
        if get_origin(choice) is Literal:
            rules += [repr(option) for option in get_args(choice)]
        else:
            rules.append(words.get(choice, "a list" if get_origin(choice) is tuple else "a number"))
    return " or ".join([", ".join(rules[:-1]), rules[-1]] if rules[:-1] else rules)


def _near(choices: tuple[Any, ...], value: Any) -> str:
    options = [option for choice in choices if get_origin(_bare(choice)) is Literal for option in get_args(choice)]
    return nearest(value, map(str, options)) if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"
