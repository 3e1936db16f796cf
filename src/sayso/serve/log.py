"""The server's log: one line per message, whatever a client sends.

A line break or an escape sequence in a request could forge lines of the log, or steer the terminal that shows it
(CWE-117); both appear escaped.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class OneLine(logging.Formatter):
    """Formats a record as one line with the time; the lines of a traceback follow, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name that logging calls)
        """Return the line, with control characters and marks of direction escaped."""
        return escaped(super().formatMessage(record))

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the traceback, indented, so that no line of it looks like a message."""
        return "\n".join("    " + escaped(line) for line in super().formatException(ei).split("\n"))


def escaped(text: str) -> str:
    r"""Return a text on one line, in which every control character is written as in Python: `\n`, `\x1b`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def logged(requests: bool) -> Iterator[None]:
    """Write what Sayso logs to standard error; with `requests` also a line for each request."""
    package, each, handler = logging.getLogger("sayso"), logging.getLogger("sayso.serve.envelope"), _handler()
    before = each.level
    package.addHandler(handler)
    if requests:
        each.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        each.setLevel(before)


def _handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    return handler
