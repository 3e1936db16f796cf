"""Destination of text for the user: the standard streams, nowhere, or a function that gets each line.

Everything that an act prints (messages, tables, progress) is written to `output_stream()` or `console()`, so that
one call of `output` redirects all of it. The destination applies to the whole process, as the standard streams do.
"""

import io
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TextIO

from rich.console import Console

from sayso.base.errors import UserError, nearest

Destination = Literal["auto", "quiet"] | Callable[[str], object]
_NAMES = ("auto", "quiet")


class _Output:
    """The previous destination, restored at the end of a `with` block."""

    def __init__(self, before: "_Lines | None") -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CHOICE.lines = self._before


def output(to: Destination) -> _Output:
    """Choose where the acts print: "auto" for the standard streams, "quiet" for nowhere, or a function.

    A function is called with each line of text, without its line end. The choice applies until the next call, or for a
    `with` block:

        with sayso.output("quiet"):
            life.pretrain(steps=10)

    Raises `UserError` for anything else.
    """
    if not callable(to) and to not in _NAMES:
        close = nearest(to, _NAMES) if isinstance(to, str) else ""
        raise UserError(f"Output must be 'auto', 'quiet' or a function that takes a line of text; got {to!r}.{close}")
    before = _Output(_CHOICE.lines)
    _CHOICE.lines = _Lines(to if callable(to) else None) if to != "auto" else None
    return before


def output_stream(*, stderr: bool = False) -> TextIO:
    """Return the file to which text for the user is currently written."""
    return _CHOICE.lines or (sys.stderr if stderr else sys.stdout)


def console(*, stderr: bool = False, **settings: Any) -> Console:
    """Return a rich console that writes to `output_stream()`, as plain text even in a notebook."""
    options: dict[str, Any] = {"highlight": False, "markup": False, "force_jupyter": False}  # names may have brackets
    return Console(file=output_stream(stderr=stderr), **options | settings)


class _Lines(io.StringIO):
    """A file that passes each complete line to a function, or drops it without one."""

    def __init__(self, function: Callable[[str], object] | None) -> None:
        super().__init__()
        self._function, self._rest = function, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines if self._function else ():
            self._function(line)  # type: ignore[misc]  # checked above
        return len(text)


class _Choice:
    lines: _Lines | None = None
    """None for the standard streams."""


_CHOICE = _Choice()
