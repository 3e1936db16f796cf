"""Where text for people goes: to the standard streams, nowhere, or line by line to a function.

Everything that an act prints (messages, tables, progress) is written to `output_stream()` or `console()`, so that
one call of `output` redirects all of it. The choice holds for the process, as the standard streams do.
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
    """The previous destination, which returns when a `with` block ends."""

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

    A function is called with each line of text, without its line end. The choice stays until the next call, or for the
    length of a `with` block:

        with sayso.output("quiet"):
            life.pretrain(steps=10)

    Raises `UserError` for anything else.
    """
    if not callable(to) and to not in _NAMES:
        close = nearest(to, _NAMES) if isinstance(to, str) else ""
        raise UserError(f"Output goes to 'auto', 'quiet' or a function that takes a line of text; got {to!r}.{close}")
    before = _Output(_CHOICE.lines)
    _CHOICE.lines = _Lines(to if callable(to) else None) if to != "auto" else None
    return before


def output_stream(*, stderr: bool = False) -> TextIO:
    """Return the file to which text for people is written now."""
    return _CHOICE.lines or (sys.stderr if stderr else sys.stdout)


def console(*, stderr: bool = False, **settings: Any) -> Console:
    """Return a console of rich that writes to `output_stream()`, as plain text in a notebook too."""
    return Console(file=output_stream(stderr=stderr), highlight=False, force_jupyter=False, **settings)


class _Lines(io.StringIO):
    """A file that hands each whole line to a function, or drops it without one."""

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
