"""A person at a terminal, or a pipe: lines come in, text goes out.

At a terminal there is a prompt, a line editor and dim notes between the replies. Piped, standard output holds the
model's text alone and the notes go to standard error, so that programs can use it.
"""

import contextlib
import sys
from typing import TextIO

from rich.console import Console

from sayso.base.errors import UserError
from sayso.base.output import stream

PROMPT = "> "
# A reply is a model's, so that it is not trusted with a terminal's escape codes: only line breaks and tabs pass.
CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def checked(text: str) -> str:
    """Return what was typed or piped in; bytes that are no text, which Python passes on as surrogates, are refused."""
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            raise UserError(
                f"Input must be valid {sys.stdin.encoding or 'utf-8'}; what follows '{text[:place][-20:]}' is not: "
                "convert it first, such as with iconv."
            )
    return text


class Terminal:
    """Reads lines and writes text; `live` is whether a person types, and then notes go between the replies."""

    def __init__(self, source: TextIO | None = None, target: TextIO | None = None) -> None:
        self.source = sys.stdin if source is None else source
        self.target = stream() if target is None else target
        self.live = self.source.isatty()
        self._notes = Console(file=self.target if self.live else stream(stderr=True), highlight=False, soft_wrap=True)

    def read(self) -> str | None:
        """Return the next line without its end, or None after the last (Ctrl-D)."""
        if self.live and self.source is sys.stdin:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  # importing it gives input() its line editor and history
            with contextlib.suppress(EOFError):
                return checked(input(PROMPT))
            return None
        if self.live:
            self.write(PROMPT)
        line = self.source.readline()
        return checked(line.rstrip("\r\n")) if line else None

    def write(self, text: str) -> None:
        """Write a piece of text at once, without the codes that could command a terminal."""
        self.target.write(text.translate(CONTROL))
        self.target.flush()

    def note(self, text: str) -> None:
        """Tell the person something that is not the model's."""
        self._notes.print(text, style="dim", markup=False)
