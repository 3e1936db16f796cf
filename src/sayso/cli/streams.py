"""What surrounds a process made safe to use: standard streams that are closed or not UTF-8, and the terminal's width.

A closed stream becomes the null device, so that no file of ours gets its number; a character that the output's encoding
lacks becomes "?", and bytes of the input that are no text are marked for `Terminal` and `generate` to refuse.
"""

import io
import os
import shutil
import sys

NARROWEST, WIDEST = 24, 1000  # columns between which tables and help are laid out; rich never ends at 1


def open_streams() -> None:
    """Open the standard streams that are closed, and let no character end the program."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if mode == "w" else "surrogateescape")


def close_output() -> None:
    """Send what standard output still holds nowhere, since nobody takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fit_width() -> None:
    """Lay everything out between `NARROWEST` and `WIDEST` columns, whatever terminal or COLUMNS say."""
    columns = shutil.get_terminal_size().columns
    fitting = min(max(columns, NARROWEST), WIDEST)
    if columns != fitting or "COLUMNS" in os.environ:
        os.environ["COLUMNS"] = str(fitting)
