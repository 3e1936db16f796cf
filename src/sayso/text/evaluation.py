"""Read every string from files of evaluation texts, which no training document may contain.

A row of JSON Lines or Parquet yields each of its strings at any depth: questions, contexts, choices and answers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sayso.base.files import read_json, write_json
from sayso.base.jsonl import BadRows
from sayso.text.decontaminate import ngram_sets, save_sets, union
from sayso.text.document import File, Part, Source
from sayso.text.files import IN_FOLDER, read_whole, rows_of_lines, rows_of_parquet, suffix_of
from sayso.text.sources import local_files, read_part

_PLAIN = (".json", ".csv", ".tsv")  # read at once, as JSON or as text


def evaluation_files(path: Path) -> tuple[File, ...]:
    """Return the files of evaluation texts at or below a path. Raises `UserError` if there is none."""
    return local_files(path, (*IN_FOLDER, *_PLAIN)).files


def evaluation_texts(files: Iterable[File], bad: BadRows) -> Iterator[str]:
    """Yield the texts of evaluation files; rows that cannot be read are counted in `bad`."""
    for file in files:
        yield from _texts(file, bad)


def held_out_texts(sources: Iterable[Source]) -> Iterator[str]:
    """Yield the small world's held-out documents, if it is among the sources."""
    for source in sources:
        held_out = (part for part in source.parts if part.reader == "world_document" and part.where[0] != "train")
        for part in held_out:
            yield from (document.text for document in read_part(part, BadRows()))


def evaluation_counts(
    work: Path, sources: Iterable[Source], files: Iterable[File], ngram: int, bad: BadRows
) -> dict[str, int]:
    """Write the n-grams of the evaluation texts into the work folder, once; return the counts of these texts."""
    path = work / "evaluation.json"
    if path.exists():
        known = read_json(path)
        bad.merge(BadRows(**known["bad"]))
        return dict(known["texts"])
    texts = Counter({"usable": 0, "too_short": 0})
    if ngram:
        of_files = ngram_sets(evaluation_texts(files, bad), ngram, texts)
        save_sets(union([of_files, ngram_sets(held_out_texts(sources), ngram)]), work)
    write_json(path, {"texts": texts, "bad": asdict(bad)})
    return dict(texts)


def _texts(file: File, bad: BadRows) -> Iterator[str]:
    kind = suffix_of(file.where, (*IN_FOLDER, *_PLAIN))
    if kind in (".jsonl", ".ndjson"):
        rows: Iterable[Any] = (row for row, _ in rows_of_lines(file.where, bad))
    elif kind == ".parquet":
        rows = rows_of_parquet(file.where, bad)
    elif kind == ".json":
        rows = [read_whole(file.where)]
    else:
        rows = (document.text for document in read_part(Part("text", (file.where,), extra=(0,)), bad))
    for row in rows:
        yield from strings_of(row)


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string in a piece of JSON data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings_of(item)
