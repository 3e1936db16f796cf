"""Line-based input and output for a terminal or a pipe.

A terminal gets a prompt, a line editor, and dim notes and reasoning between the replies. With a pipe, standard output
contains only the model's replies; notes and reasoning go to standard error.
"""

import contextlib
import sys
from typing import TextIO

from rich.console import Console

from sayso.base.errors import UserError
from sayso.base.output import output_stream

PROMPT = "> "
# Model output is untrusted and must not send escape codes to the terminal: only line breaks and tabs pass.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def checked(text: str) -> str:
    """Return the input text. Raises `UserError` for undecodable bytes, which Python represents as surrogates."""
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            raise UserError(
                f"Input must be valid {sys.stdin.encoding or 'utf-8'}; the bytes after '{text[:place][-20:]}' are not. "
                "Convert the input first, for example with iconv."
            )
    return text


class Terminal:
    """Reads lines and writes text; `live` is true if input is interactive, with notes between the replies."""

    def __init__(self, source: TextIO | None = None, target: TextIO | None = None) -> None:
        self.source = sys.stdin if source is None else source
        self.target = output_stream() if target is None else target
        self.live = self.source.isatty()
        self._thinking = False  # whether the last text was reasoning
        self._notes = Console(
            file=self.target if self.live else output_stream(stderr=True), highlight=False, soft_wrap=True
        )

    def read(self, prompt: str = PROMPT) -> str | None:
        """Return the next line without its end, or None after the last (Ctrl-D)."""
        if self.live and self.source is sys.stdin:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  # importing it gives input() its line editor and history
            with contextlib.suppress(EOFError):
                return checked(input(prompt))
            return None
        if self.live:
            self.write(prompt)
        line = self.source.readline()
        return checked(line.rstrip("\r\n")) if line else None

    def write(self, text: str) -> None:
        """Write and flush a piece of text, without control characters."""
        if self._thinking:
            self._thinking = False
            self._notes.print("\n", end="")
        self.target.write(text.translate(_CONTROL))
        self.target.flush()

    def think(self, text: str) -> None:
        """Write a piece of the model's reasoning, dim and apart from the text that follows; a pipe gets only that."""
        self._thinking = True
        self._notes.print(text.translate(_CONTROL), style="dim", markup=False, end="")

    def note(self, text: str) -> None:
        """Print a message that is not part of the model's output."""
        self._notes.print(text, style="dim", markup=False)
