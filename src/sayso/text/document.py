"""The data types of this stage: a document, and the part of a source that one worker reads at a time.

Both are plain data. A source is split into parts by its nature (files, byte ranges, slices), never by the number of
workers, so that the result is the same on any machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sayso.text.packed import READ_BLOCK, open_bytes

DOCUMENT_SPLITS = ("train", "val", "test")
FUNCTION = "function"
"""The reader of a function passed in, which exists in this process alone."""
Message = Mapping[str, Any]
"""OpenAI's: role (system, user, assistant, tool) and content, both texts; tool_calls, tool_call_id, name, weight 0."""
Messages = Sequence[Message]


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a row, as "file:line"; lines before a part in the middle of a file are counted on demand."""

    where: str
    number: int
    """Of the row, counted from 1 after the first `start` bytes, or in the whole file where that is 0."""
    start: int = 0
    kind: str = "line"

    def __str__(self) -> str:
        if self.kind != "line":
            return f"{self.where}, {self.kind} {self.number}"
        before, left = 0, self.start
        if left:
            with open_bytes(self.where) as file:
                while left and (block := file.read(min(left, READ_BLOCK))):
                    before, left = before + block.count(b"\n"), left - len(block)
        return f"{self.where}:{before + self.number}"


@dataclass(frozen=True, slots=True)
class Document:
    """One text; a conversation has its messages too. `split` is set only where the source's own law says it."""

    text: str
    title: str = ""
    messages: tuple[Message, ...] = ()
    split: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    at: Place | None = field(default=None, compare=False)


@dataclass(frozen=True)
class File:
    """A file to read: its path or URL, its bytes, and a mark that changes with its content (time or ETag)."""

    where: str
    size: int
    mark: str


@dataclass(frozen=True)
class Part:
    """What one worker reads at a time: `reader` is a name in `sources.READERS`, the rest is for that reader."""

    reader: str
    where: tuple[str, ...] = ()  # paths or URLs
    start: int = 0  # first item, byte or row group
    stop: int | None = None  # one past the last; None = to the end
    column: str | None = None
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Source:
    """A named supply of documents with its papers and its parts, in order."""

    name: str
    licence: str
    origin: str  # package, path or URL
    parts: tuple[Part, ...]
    files: tuple[File, ...] = ()
    sha256: str | None = None  # of the downloaded package
    generated: bool = False  # by program: exact duplicates alone are removed, its own law says the split
    people: bool = False  # chat between strangers: rules against profanity and personal details hold
    ignored: tuple[str, ...] = ()  # files there that are no text to learn, and lives
