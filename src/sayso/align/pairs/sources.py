"""Collects the comparisons of an alignment run and holds some out for selecting the best weights.

Input: gathered feedback, the user's file, and pairs scored by a checker. Output: two JSON Lines files in the run's
folder, one to train on and one held out, and batches of their token ids.
"""

import json
from collections.abc import Callable, Sequence
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
"""How many prompts are held out by default."""


def comparisons(
    given: Path | None,
    feedback: Path,
    weight: int,
    program: Callable[[], list[ComparisonRow]],
    bad: BadRows,
    *,
    ratings: bool,
    check: RowCheck | None = None,
) -> list[ComparisonRow]:
    """Return the pairs of a file, of gathered feedback (repeated `weight` times) and of the checker; or all ratings.

    A row that cannot be trained on, or that fails `check`, is counted in `bad`. Raises `UserError` for a file of
    ratings if pairs are needed.
    """
    mine = read_file(given, bad, ratings=ratings, check=check) if given else []
    check_listed(feedback, "")
    own = read_pairs(feedback / PAIRS, bad, check=check) if (feedback / PAIRS).exists() else []
    liked = read_ratings(feedback / RATINGS, bad, check=check) if ratings and (feedback / RATINGS).exists() else []
    report_rows(bad)
    if own:
        say(f"{len(own):,} pairs come from gathered ratings.")
    if not ratings:
        return [*(row for row in own for _ in range(weight)), *mine, *program()]
    different = {json.dumps(row, sort_keys=True): row for row in [*liked, *ratings_of(own)]}  # some may be in both
    return [*(row for row in different.values() for _ in range(weight)), *mine, *ratings_of(program())]


def read_file(path: Path, bad: BadRows, *, ratings: bool, check: RowCheck | None = None) -> list[ComparisonRow]:
    """Return the pairs of a file; with `ratings`, its ratings, or its pairs as ratings."""
    single = holds_ratings(path)
    if single and not ratings:
        raise UserError(f"'{path}' contains single ratings, which require --loss kto.")
    rows = (read_ratings if single else read_pairs)(path, bad, check=check)
    return ratings_of(rows) if ratings and not single else rows


def hold_out_pairs(rows: Sequence[ComparisonRow], size: HoldOut) -> Parts:
    """Return the rows to train on and those held out: all rows of some prompts, selected by a hash.

    Held-out ratings contain both kinds, otherwise none are held out.
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
        check_recorded(folder / file, "begin again with --restart")
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
    """Rows whose prompts are sampled: held-out ones if any, else training ones."""
    summary: str
    """Description of both sizes."""
    given: Parts
    """The rows they were built from."""


def open_comparisons(given: Parts, tokenizer: Tokenizer, rows: int, context: int, seed: int) -> Comparisons:
    """Return training and held-out comparisons as batches of `rows` rows.

    Raises `UserError` for invalid rows, and if nothing is left to train on.
    """
    ratings = "good" in given[0][0]
    kind: type[Batches] = RatingBatches if ratings else PairBatches
    parts = [_rendered(tokenizer, part, context) for part in given]
    if not parts[0][0]:
        raise UserError(
            f"All comparisons to train on exceed the model's context of {context:,} tokens; provide shorter ones."
        )
    train, held = (
        kind(ids, rows, context, seed) if ids or not number else None for number, (ids, _) in enumerate(parts)
    )
    assert train is not None
    sizes = [len(ids) for ids, _ in parts]
    what = "ratings" if ratings else "pairs"
    summary = f"{sizes[0]:,} {what}" + (f", {sizes[1]:,} held out" if held else ", none held out")
    return Comparisons(train, held, parts[1][1] or parts[0][1], summary, given)


def _rendered(
    tokenizer: Tokenizer, rows: Sequence[ComparisonRow], context: int
) -> tuple[list[Any], list[ComparisonRow]]:
    """Return prompt and reply ids of each row that fits the context, and these rows; report the others."""
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
