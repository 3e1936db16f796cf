"""The data types of this stage: a document, and the part of a source that one worker reads at a time.

A source is split into parts by its structure (files, byte ranges, slices), never by the number of workers, so that the
result is the same on any machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sayso.text.compressed import READ_BLOCK, open_bytes

DOCUMENT_SPLITS = ("train", "val", "test")
FUNCTION = "function"
"""Name of the reader for a Python function, which exists only in this process."""
Message = Mapping[str, Any]
"""In OpenAI's format: role (system, user, assistant, tool), content, tool_calls, tool_call_id, name, weight 0."""
Messages = Sequence[Message]


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a row, as "file:line"; lines before a part in the middle of a file are counted on demand."""

    where: str
    number: int
    """Number of the row, counted from 1 after the first `start` bytes."""
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
    """One text; a conversation has its messages too. `split` is set only if the source assigns it."""

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
    """What one worker reads at a time: `reader` is a name in `sources.READERS`, the other fields are its arguments."""

    reader: str
    where: tuple[str, ...] = ()  # paths or URLs
    start: int = 0  # first item, byte or row group
    stop: int | None = None  # one past the last; None = to the end
    column: str | None = None
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Source:
    """A named source of documents: its provenance and its parts, in order."""

    name: str
    license_name: str
    origin: str  # package, path or URL
    parts: tuple[Part, ...]
    files: tuple[File, ...] = ()
    sha256: str | None = None  # of the downloaded package
    generated: bool = False  # by program: only exact duplicates are removed, and the source assigns the splits
    people: bool = False  # chat between strangers: rules against profanity and personal details apply
    ignored: tuple[str, ...] = ()  # files about the data, and lives, which are not read
