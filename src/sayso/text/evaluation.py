"""Files of evaluation texts -> every string in them: what no training document may hold.

A row of JSON Lines or Parquet gives each of its strings, however deep: questions, contexts, choices and answers alike.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sayso.text.document import File, Source
from sayso.text.files import KINDS, parts_of, rows_of_lines, rows_of_parquet, suffix_of
from sayso.text.sources import read


def evaluation_texts(files: Iterable[File], sources: Iterable[Source]) -> Iterator[str]:
    """Yield the texts of evaluation files, and the small world's held-out documents where it is among the sources."""
    for file in files:
        kind = KINDS[suffix_of(file.where)]
        if kind == "text":
            for part in parts_of([file], None, 0):
                yield from (document.text for document in read(part))
        elif kind == "lines":
            for row, _ in rows_of_lines(file.where):
                yield from strings_of(row)
        else:
            for row in rows_of_parquet(file.where):
                yield from strings_of(row)
    for source in sources:
        held_out = (part for part in source.parts if part.reader == "world_document" and part.where[0] != "train")
        for part in held_out:
            yield from (document.text for document in read(part))


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string in a piece of JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_of(item)
