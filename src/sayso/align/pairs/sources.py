"""Collects the comparisons of an alignment run and holds some out to select the best weights.

Input: gathered feedback, the user's file, and pairs scored by a checker. Output: two JSON Lines files in the run's
folder, one to train on and one held out, and batches of their ids.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.align.pairs.comparisons import ComparisonRow, RowCheck, holds_ratings, ratings_of, read_pairs, read_ratings
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.hold_out import HoldOut
from sayso.base.intact import check_listed, check_recorded, recorded
from sayso.base.jsonl import BadRows, read_jsonl, write_jsonl
from sayso.base.log import say
from sayso.batch.pairs import PairBatches
from sayso.batch.ratings import RatingBatches
from sayso.judge.held_out import rank
from sayso.text.rows import report_rows
from sayso.token.chat import prompt_ids, reply_ids
from sayso.token.tokenizer import Tokenizer

Batches = PairBatches | RatingBatches
Parts = tuple[list[ComparisonRow], list[ComparisonRow]]  # to train on, and held out
PAIRS, RATINGS, HELD = "pairs.jsonl", "ratings.jsonl", "held_out.jsonl"
HELD_OUT = HoldOut(1 / 16, most=64, fewest=8)
"""Default number of held-out prompts."""


def comparisons(
    file: Path | None,
    feedback: Path,
    weight: int,
    program: Callable[[], list[ComparisonRow]],
    bad: BadRows,
    *,
    ratings: bool,
    check: RowCheck | None = None,
) -> list[ComparisonRow]:
    """Return the pairs of gathered feedback, repeated `weight` times, of a file, and of a program.

    A gathered row of an annotator with a weight below 1 is repeated less often, and left out if that is less than half
    a time.

    With `ratings`, return ratings instead. Rows that cannot be trained on, or that fail `check`, are counted in `bad`.
    Raises `UserError` for a file of ratings if pairs are needed.
    """
    from_file = read_file(file, bad, ratings=ratings, check=check) if file else []
    check_listed(feedback, "")
    pairs = read_pairs(feedback / PAIRS, bad, check=check) if (feedback / PAIRS).exists() else []
    single = read_ratings(feedback / RATINGS, bad, check=check) if ratings and (feedback / RATINGS).exists() else []
    report_rows(bad)
    if pairs:
        say(f"{len(pairs):,} pairs come from gathered ratings.")
    if not ratings:
        return [*_repeated(pairs, weight), *from_file, *program()]
    distinct = {json.dumps(row, sort_keys=True): row for row in [*single, *ratings_of(pairs)]}  # some are in both
    return [*_repeated(distinct.values(), weight), *from_file, *ratings_of(program())]


def _repeated(rows: Iterable[ComparisonRow], times: int) -> list[ComparisonRow]:
    """Return gathered rows repeated by their annotators' weights, which are not needed any more."""
    weighed = ((row.get("weight", 1.0), {key: row[key] for key in row if key != "weight"}) for row in rows)
    return [row for weight, row in weighed for _ in range(int(weight * times + 0.5))]


def read_file(path: Path, bad: BadRows, *, ratings: bool, check: RowCheck | None = None) -> list[ComparisonRow]:
    """Return the pairs of a file; with `ratings`, its ratings, or its pairs as ratings."""
    single = holds_ratings(path)
    if single and not ratings:
        raise UserError(f"'{path}' contains single ratings, which require --loss kto.")
    rows = (read_ratings if single else read_pairs)(path, bad, check=check)
    return ratings_of(rows) if ratings and not single else rows


def hold_out_pairs(rows: Sequence[ComparisonRow], size: HoldOut) -> Parts:
    """Return the rows to train on and those held out: all rows of some prompts, selected by a hash.

    Nothing is held out if the held-out ratings would be all good or all bad.
    """
    train, held = size.split(rows, prompt_key, rank)
    if any("good" in row for row in held) and len({row["good"] for row in held}) == 1:
        return list(rows), []
    return train, held


def write_comparisons(folder: Path, parts: Parts) -> None:
    """Write both parts into the run's folder."""
    train, held = parts
    name, other = (RATINGS, PAIRS) if "good" in train[0] else (PAIRS, RATINGS)
    (folder / other).unlink(missing_ok=True)  # left by a run killed before it had a plan
    with recorded(folder / name), recorded(folder / HELD):
        write_jsonl(folder / name, train)
        write_jsonl(folder / HELD, held)


def read_comparisons(folder: Path) -> Parts:
    """Return both parts written by `write_comparisons`. Raises `UserError` if the files were changed since."""
    name = RATINGS if (folder / RATINGS).exists() else PAIRS
    for file in (name, HELD):
        check_recorded(folder / file, "start from scratch with --restart")
    return list(read_jsonl(folder / name)), list(read_jsonl(folder / HELD))


def mark_of(folder: Path) -> str:
    """Return a hash of both parts in a run's folder."""
    return sha256(folder / (RATINGS if (folder / RATINGS).exists() else PAIRS)) + sha256(folder / HELD)


@dataclass(frozen=True)
class Comparisons:
    """Training and held-out data of a run."""

    train: Batches
    held: Batches | None
    rows: list[ComparisonRow]
    """Rows with prompts for samples: held-out ones if there are any, otherwise training ones."""
    summary: str
    """Description of both sizes."""
    parts: Parts
    """The rows of both parts, including those that exceed the context."""


def open_comparisons(parts: Parts, tokenizer: Tokenizer, rows: int, context: int, seed: int) -> Comparisons:
    """Return training and held-out comparisons as batches of `rows` rows.

    Raises `UserError` for invalid rows, and if nothing is left to train on.
    """
    ratings = "good" in parts[0][0]
    kind: type[Batches] = RatingBatches if ratings else PairBatches
    (train_ids, train_rows), (held_ids, held_rows) = (_encoded(tokenizer, part, context) for part in parts)
    if not train_ids:
        raise UserError(
            f"All comparisons to train on exceed the model's context of {context:,} tokens; provide shorter ones."
        )
    held = kind(held_ids, rows, context, seed) if held_ids else None
    summary = (
        f"{len(train_ids):,} {'ratings' if ratings else 'pairs'}, {f'{len(held_ids):,}' if held else 'none'} held out"
    )
    return Comparisons(kind(train_ids, rows, context, seed), held, held_rows or train_rows, summary, parts)


def _encoded(
    tokenizer: Tokenizer, rows: Sequence[ComparisonRow], context: int
) -> tuple[list[Any], list[ComparisonRow]]:
    """Return the ids of each row that fits the context, and these rows; report the number of others."""
    kept: list[tuple[Any, ComparisonRow]] = []
    for row in rows:
        prompt = prompt_ids(tokenizer, row["prompt"])
        replies = [reply_ids(tokenizer, row[key]) for key in ("chosen", "rejected", "reply") if key in row]
        if len(prompt) + max(map(len, replies)) <= context:
            kept.append(((prompt, *replies, *([row["good"]] if "good" in row else [])), row))
    if left := len(rows) - len(kept):
        say(f"Left out {left:,} of {len(rows):,} comparisons that exceed the context of {context} tokens.")
    return [ids for ids, _ in kept], [row for _, row in kept]


def prompt_key(row: ComparisonRow) -> str:
    """Return a row's prompt as JSON, equal for equal prompts."""
    return json.dumps(row["prompt"], sort_keys=True)
