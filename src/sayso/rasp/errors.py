"""Errors of RASP programs with their place: the file, the line, the column, and a caret under it."""

import re
from dataclasses import dataclass

from sayso.base.errors import ListError


@dataclass(frozen=True)
class Place:
    """A place in a program's text; lines and columns count from 1."""

    source: str
    """The file's name, or "input"."""
    line: int
    column: int
    text: str
    """The line itself."""

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}, column {self.column}"

    def caret(self) -> str:
        """Return a caret under the column, whatever tabs the line has."""
        return re.sub(r"[^\t]", " ", self.text[: self.column - 1]) + "^"


class ProgramError(ListError):
    """A mistake in a program, in one sentence with its place; below it, the line and a caret."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(f"{message} ({place})\n  {place.text}\n  {place.caret()}")
        self.message, self.place = message, place
