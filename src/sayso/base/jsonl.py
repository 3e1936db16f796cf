r"""Read and write JSON Lines: one object per row.

A line ends only at "\n", so U+2028, U+2029 and U+0085 are ordinary characters. A byte order mark is
ignored. A lone surrogate such as "\ud83d", which UTF-8 cannot encode, becomes U+FFFD, both when reading and when
writing. Rejected: bytes that are not UTF-8, NaN and Infinity, duplicate keys, and nesting deeper than `MAX_DEPTH`.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from sayso.base.errors import ListError, UserError
from sayso.base.files import atomic_file

_LISTED = 5  # bad rows that are listed; the others are counted
MAX_DEPTH = 100  # nested lists and objects: real data is flatter, and deeper nesting would exhaust the stack
MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
POINTER = b"version https://git-lfs.github.com/spec/"
REPLACEMENT = "\ufffd"
Policy = Literal["stop", "skip"]
_Row = dict[str, Any]
_T = TypeVar("_T")

_HALF = re.compile("[\ud800-\udfff]")
# A complete surrogate pair of escapes, half of one, or any other escape, so that "\\\\ud83d" is not mistaken for one.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD](?P<half>[89a-fA-F])..|\\.", re.DOTALL)
_MAYBE_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass
class BadRows:
    """The unusable rows of one command: the first few are listed, all are counted.

    With the policy "stop" they stop the command after all rows were read; with "skip" it continues without them.
    """

    policy: Policy | None = None
    """None = to stop, in a command that has no --bad-rows."""
    rows: int = 0
    """Number of rows read."""
    count: int = 0
    """Number of bad rows among them."""
    first: list[str] = field(default_factory=list)
    """The first bad rows, as "file:line: reason"."""
    replaced: int = 0
    """Number of rows in which a lone surrogate became U+FFFD."""

    def add(self, at: object, reason: str) -> None:
        """Count one bad row."""
        self.count += 1
        if len(self.first) < _LISTED:
            self.first.append(" ".join(repair_surrogates(f"{at}: {reason}").splitlines()))

    def attempt(self, at: object, make: Callable[..., _T], *arguments: Any) -> _T | None:
        """Return the result of `make` for a row; if it raises `UserError`, count the row and return None."""
        try:
            return make(*arguments)
        except UserError as error:
            self.add(at, str(error))
            return None

    def row(self, line: bytes, at: object) -> _Row | None:
        """Return the object of a line; None if it is blank, or bad and counted."""
        if not line.removeprefix(MARK).strip():
            return None
        self.rows += 1
        try:
            text, halves = _decoded(line)
            self.replaced += halves > 0
            return _object(text)
        except ValueError as error:
            self.add(at, _reason(error))
            return None

    def merge(self, other: "BadRows") -> None:
        """Add the counts of another part of the same command."""
        self.rows += other.rows
        self.count += other.count
        self.replaced += other.replaced
        self.first = [*self.first, *other.first][:_LISTED]

    def check(self, *, end: bool = True) -> None:
        """Raise `UserError`, with the first bad rows and their number, if the policy is to stop.

        With `end=False` (more rows follow), raise only if the list is already full.
        """
        if self.policy != "skip" and self.count >= (1 if end else _LISTED):
            summary = self.summary("cannot be used", "rows" if end else "rows read so far")
            one = self.count == 1
            advice = f"Fix {'this row' if one else 'these rows'}"
            if self.policy is not None:
                advice += f", or add --bad-rows skip to skip {'it' if one else 'them'}"
            raise UserError(f"{summary} {advice}.") if one else ListError(f"{summary}\n{advice}.")

    def summary(self, what: str = "skipped", rows: str = "rows") -> str:
        """Return the number of bad rows, and the first of them, one per line; a single one is on the same line."""
        more = [f"and {self.count - len(self.first):,} more"] if self.count > len(self.first) else []
        between = "\n  " if self.count > 1 else " "
        return between.join([f"{self.count:,} of {self.rows:,} {rows} {what}:", *self.first, *more])

    def notes(self) -> list[str]:
        """Return notes for the user about the rows read; empty if there were no problems."""
        halves = f"{self.replaced:,} rows contained a lone surrogate (such as \\ud83d), read as U+FFFD."
        return [*([self.summary()] if self.count else []), *([halves] if self.replaced else [])]

    def facts(self) -> _Row:
        """Return the counts for a plan or a manifest."""
        return {"skipped": self.count, "first": self.first, "half_characters": self.replaced}


def parse(data: bytes) -> Any:
    """Return the value of a JSON text. Raises `ValueError` with the reason if it is invalid."""
    try:
        return _value(_decoded(data)[0])
    except ValueError as error:
        raise ValueError(_reason(error)) from error


def kind_of(value: Any) -> str:
    """Return the JSON name of a value's type."""
    return {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(
        type(value), "a number"
    )


def repair_surrogates(text: str) -> str:
    """Return a text with each lone surrogate replaced by U+FFFD; adjacent halves of a pair become one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if _HALF.search(text) else text


def line_of(row: Any) -> bytes:
    """Return a row as one line of JSON; numbers that are not finite become null."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(row), ensure_ascii=False)
    return repair_surrogates(text).encode() + b"\n"


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers from 1. Raises `UserError` if the file cannot be read."""
    try:
        with path.open("rb") as file:
            yield from enumerate(iter(file.readline, b""), 1)
    except FileNotFoundError as error:
        raise UserError(f"There is no file '{path}'.") from error
    except IsADirectoryError as error:
        raise UserError(f"The input must be a JSON Lines file; '{path}' is a folder.") from error


def read_rows(path: Path, bad: BadRows) -> Iterator[tuple[int, _Row]]:
    """Yield the rows of a user's JSON Lines file with their line numbers; bad rows are counted."""
    for number, line in lines_of(path):
        row = bad.row(line, f"{path}:{number}")
        if row is not None:
            yield number, row


def read_jsonl(path: Path) -> Iterator[_Row]:
    """Yield the rows of a JSON Lines file written by Sayso. A bad line raises `UserError` with file and line number."""
    for number, line in lines_of(path):
        bad = BadRows()
        row = bad.row(line, f"{path}:{number}")
        if bad.count:
            raise UserError(f"{bad.first[0]} Fix or remove that line.")
        if row is not None:
            yield row


def write_jsonl(path: Path, rows: Iterable[_Row]) -> int:
    """Write objects as JSON Lines, atomically and streaming; return their number."""
    count = 0
    with atomic_file(path) as part, part.open("wb") as file:
        for row in rows:
            file.write(line_of(row))
            count += 1
    return count


def _decoded(data: bytes) -> tuple[str, int]:
    """Return bytes as text, without a byte order mark, and the number of lone surrogates replaced in it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("The file is UTF-16; convert the file to UTF-8, for example with iconv -f UTF-16 -t UTF-8.")
    if data.startswith(POINTER):
        raise ValueError("The file is a Git LFS pointer, not the data; run git lfs pull.")
    text = data.removeprefix(MARK).decode()
    if not _MAYBE_HALF.search(text):
        return text, 0
    halves = 0

    def repaired(escape: re.Match[str]) -> str:
        nonlocal halves
        if escape["half"] is None:
            return escape[0]
        halves += 1
        return REPLACEMENT

    return _ESCAPE.sub(repaired, text), halves


def _object(text: str) -> _Row:
    value = _value(text)
    if not isinstance(value, dict):
        raise ValueError(f"A row must be one JSON object; this is {kind_of(value)}.")
    return value


def _value(text: str) -> Any:
    """Return the value of JSON text. Raises `ValueError` for everything that this module rejects."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for one in level for item in _items(one)]
        if not level:
            return
    raise _too_deep()


def _items(value: Any) -> Iterable[Any]:
    """Yield the lists and objects directly inside a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in inside if isinstance(item, dict | list))


def _too_deep() -> ValueError:
    return ValueError(f"Lists and objects may be nested at most {MAX_DEPTH} levels deep; these are deeper.")


def _unique(pairs: list[tuple[str, Any]]) -> _Row:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"The key '{next(name for name in names if names.count(name) > 1)}' occurs twice.")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON; use null for a missing number.")


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"This is not valid JSON ({error.msg}, column {error.pos + 1})."
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"This is not UTF-8 (byte 0x{byte:02x} at position {error.start + 1}); convert the file to UTF-8."
    return str(error)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
