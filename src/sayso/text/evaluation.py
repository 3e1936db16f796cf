"""Files of evaluation texts -> every string in them: what no training document may hold.

A JSON Lines row gives each of its strings, however deep: questions, contexts, choices and answers alike.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sayso.base.files import read_jsonl
from sayso.text.document import Source
from sayso.text.files import KINDS, parts_of, suffix_of
from sayso.text.sources import local_files, read


def evaluation_files(path: Path) -> tuple[tuple[str, int], ...]:
    """Return the files under a path that hold evaluation texts, with their sizes."""
    return local_files(path)


def evaluation_texts(files: Iterable[tuple[str, int]], sources: Iterable[Source]) -> Iterator[str]:
    """Yield the texts of evaluation files, and the small world's held-out documents where it is among the sources."""
    for where, size in files:
        if KINDS[suffix_of(where)] == "lines" and where.endswith("l"):
            for row in read_jsonl(Path(where)):
                yield from _strings(row)
            continue
        for part in parts_of([(where, size)], None, 0):
            yield from (document.text for document in read(part))
    for source in sources:
        held_out = (part for part in source.parts if part.reader == "world_document" and part.where[0] != "train")
        for part in held_out:
            yield from (document.text for document in read(part))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
