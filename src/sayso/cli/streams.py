"""Make the standard streams safe, even if they are closed or not UTF-8, and limit the terminal's width.

A closed stream becomes the null device, so that no other file gets its descriptor; a character that the output's
encoding lacks becomes "?", and input bytes that are not text are escaped, for `Terminal` and `generate` to reject.
"""

import io
import os
import shutil
import sys

NARROWEST, WIDEST = 24, 1000  # columns for tables and help; at 1, rich does not terminate


def open_streams() -> None:
    """Open closed standard streams, and replace characters that cannot be encoded."""
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
    """Discard the buffered output after its reader closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fit_width() -> None:
    """Limit the width of all output to `NARROWEST` to `WIDEST` columns, whatever the terminal or COLUMNS say."""
    columns = shutil.get_terminal_size().columns
    fitting = min(max(columns, NARROWEST), WIDEST)
    if columns != fitting or "COLUMNS" in os.environ:
        os.environ["COLUMNS"] = str(fitting)
