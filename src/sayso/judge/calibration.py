"""Disjoint calibration and evaluation text for quantization.

Takes the life's prepared text and conversations, or any source that `sayso prepare` reads; returns rows of ids for
calibration, and held-out documents.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.judge.held_out import LONGEST_DOCUMENT, held_out, rank, training_texts
from sayso.text.prepared import training_chats
from sayso.text.rows import report_ignored, report_rows
from sayso.text.sources import Amounts, read_part, resolve
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer

_ROW = 512
"""Tokens per row of calibration text, if the model's context allows it."""
AMOUNTS = Amounts(world_documents=2000, world_conversations=0, seed=0, val=0.0, test=0.0, piece=LONGEST_DOCUMENT)
_JUDGED = 10  # one in this many documents of a source is for evaluation, the others for calibration


@dataclass(frozen=True)
class Texts:
    """Documents for calibration and for evaluation."""

    learn: Iterable[str]
    """Calibration documents."""
    judge: tuple[str, ...]
    """Evaluation documents."""


def texts_of(life: Life, source: str | None, judged_bytes: int, bad: BadRows) -> Texts | None:
    """Return the texts of a source, or of the life; None if no source is given and the life has no text.

    Raises `UserError` for a source that cannot be read or has fewer than two documents.
    """
    if source is not None:
        return _of_source(source, judged_bytes, bad)
    folder = life.data("text")
    if not any(folder.glob("train-*.jsonl")):
        return None
    held = held_out(folder, "val", judged_bytes)
    return Texts(training_texts(folder, 0), tuple(text for sample in held.values() for text in sample.texts))


def rows_of(tokenizer: Tokenizer, texts: Iterable[str], chats: Path | None, context: int, tokens: int) -> Tensor:
    """Return about `tokens` tokens of calibration text, ids [B, T]; half are from the folder `chats`, if it has any.

    Raises `UserError` if the texts do not fill one row.
    """
    length = min(_ROW, context)
    count = max(1, round(tokens / length))
    bos = tokenizer.specials["<|bos|>"]
    documents = ([bos, *tokenizer.encode(text)] for text in texts)
    if chats and (chats / "train.jsonl").exists() and tokenizer.chat_template is not None:
        conversations = (prompt_ids(tokenizer, row["messages"], reply=False) for row in training_chats(chats))
        rows = [*_rows(conversations, length, count // 2), *_rows(documents, length, count - count // 2)]
    else:
        rows = list(_rows(documents, length, count))
    if not rows:
        raise UserError(f"Calibration needs at least {length} tokens of text; use a longer --text.")
    return torch.tensor(rows)


def _of_source(name: str, judged_bytes: int, bad: BadRows) -> Texts:
    source = resolve(name, AMOUNTS)
    report_ignored([source])
    texts = (
        document.text[:LONGEST_DOCUMENT]
        for part in source.parts
        for document in read_part(part, bad)
        if document.text.strip()
    )
    learn, judge, size = [], [], 0
    for text in _unique(texts):
        if rank(text) % _JUDGED or size >= judged_bytes:
            learn.append(text)
        else:
            judge.append(text)
            size += len(text.encode())
        if size >= judged_bytes and sum(map(len, learn)) >= judged_bytes * _JUDGED:
            break
    report_rows(bad)
    if len(learn) + len(judge) < 2:
        raise UserError(
            f"Calibration and evaluation need at least two documents; '{name}' has {len(learn) + len(judge)}."
        )
    if not judge:
        judge.append(learn.pop())
    if not learn:
        learn.append(judge.pop())
    return Texts(learn, tuple(judge))


def _unique(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text once, so that none is used for both calibration and evaluation."""
    seen: set[int] = set()
    for text in texts:
        if (key := rank(text)) not in seen:
            seen.add(key)
            yield text


def _rows(documents: Iterable[list[int]], length: int, count: int) -> Iterator[list[int]]:
    ids = chain.from_iterable(documents)
    for _ in range(count):
        row = list(islice(ids, length))
        if len(row) < length:
            return
        yield row
