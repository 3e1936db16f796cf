"""Read the items of a task from a file in one of the public formats.

- `.jsonl`: a row for each item, see `item_of`; the rows of DCLM's and BLiMP's files are read as they are.
- `.txt`: HellaSwag as text: a context, the index of the right ending, and four endings, a line each.
- `.json`: SQuAD (paragraphs with questions) or CoQA (a story with a conversation), whose questions share a passage.

Any of them may be compressed (`.gz`, `.bz2`, `.xz`). A bad row is an error that names its file and line.
"""

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.judge.tasks.item import NumberedItem, Question, item_of

_OPENERS: Mapping[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ENDINGS = 4  # of a HellaSwag context
_INDEX = re.compile(r"\s*[0-9]\s*")


def read_items(path: Path, bad: BadRows | None = None) -> list[NumberedItem]:
    """Return the items of a file, in order.

    Raises `UserError` for a file that is missing, damaged, in none of the formats, or has a bad row or no row.
    """
    bad = BadRows() if bad is None else bad
    kind = (path.with_suffix("") if path.suffix in _OPENERS else path).suffix
    readers = {".jsonl": _rows, ".txt": _hellaswag, ".json": _passages}
    if kind not in readers:
        raise UserError(
            f"A task's file must end in .jsonl, .txt or .json, or be one of these compressed; got '{path}'."
        )
    try:
        with _OPENERS.get(path.suffix, _plain)(path) as file:
            items = list(readers[kind](path, file, bad))
    except (OSError, EOFError, lzma.LZMAError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        raise UserError(f"A task's file must be readable; '{path}' is not: {reason}.") from error
    bad.check()
    if not items:
        raise UserError(f"A task's file must have at least one item; '{path}' has none.")
    return items


def _plain(path: Path) -> BinaryIO:
    return path.open("rb")


def _rows(path: Path, lines: Iterator[bytes], bad: BadRows) -> Iterator[NumberedItem]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        at = f"{path}:{line_number}"
        row = bad.row(line, at)
        item = None if row is None else bad.attempt(at, item_of, row)
        if row is not None and item is not None:
            yield NumberedItem(item, str(number), str(row.get("passage", "")))
        number += row is not None


def _hellaswag(path: Path, lines: Iterator[bytes], bad: BadRows) -> Iterator[NumberedItem]:
    texts = [line.decode("utf-8", "replace").rstrip("\r\n") for line in lines]
    size = 2 + _ENDINGS
    if len(texts) % size:
        bad.add(
            f"{path}:{len(texts)}", f"HellaSwag has {size} lines for each item; the last one has {len(texts) % size}."
        )
    for number in range(len(texts) // size):
        context, gold, *endings = texts[number * size : (number + 1) * size]
        row = {"query": context, "choices": endings, "gold": int(gold) if _INDEX.fullmatch(gold) else gold}
        bad.rows += 1
        item = bad.attempt(f"{path}:{number * size + 1}", item_of, row)
        if item is not None:
            yield NumberedItem(item, str(number))


def _passages(path: Path, file: Any, bad: BadRows) -> Iterator[NumberedItem]:
    try:
        data = json.loads(file.read())["data"]
        items = [item for entry in data for item in _of_entry(entry)]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"A .json task must be SQuAD (data, paragraphs, qas) or CoQA (data, story, questions); '{path}' is neither."
        ) from error
    bad.rows += len(items)
    return iter(items)


def _of_entry(entry: Mapping[str, Any]) -> Iterator[NumberedItem]:
    """Yield the questions of a SQuAD article or a CoQA story; those without an answer are left out."""
    if "story" in entry:
        yield from _coqa(entry)
        return
    for place, paragraph in enumerate(entry["paragraphs"]):
        passage = str(paragraph["context"])
        for asked in paragraph["qas"]:
            answers = tuple(dict.fromkeys(str(answer["text"]) for answer in asked["answers"]))
            if answers:
                prompt = f"Context: {passage}\nQuestion: {asked['question']}\nAnswer:"
                yield NumberedItem(Question(prompt, answers), str(asked["id"]), f"{entry.get('title', '')}:{place}")


def _coqa(entry: Mapping[str, Any]) -> Iterator[NumberedItem]:
    """Yield each question of a story, after the questions and answers before it."""
    others: Sequence[Sequence[Mapping[str, Any]]] = list(entry.get("additional_answers", {}).values())
    said = f"Story: {entry['story']}"
    for place, (asked, answered) in enumerate(zip(entry["questions"], entry["answers"], strict=True)):
        said += f"\nQuestion: {asked['input_text']}\nAnswer:"
        answers = [answered["input_text"], *(answer[place]["input_text"] for answer in others)]
        name = f"{entry['id']}:{asked['turn_id']}"
        yield NumberedItem(Question(said, tuple(dict.fromkeys(map(str, answers)))), name, str(entry["id"]))
        said += f" {answered['input_text']}"
