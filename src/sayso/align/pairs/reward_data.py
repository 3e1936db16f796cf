"""Training data of reward models: comparisons and ratings, grouped by prompt.

All rows of a prompt are combined, so that each reply is processed once. Some prompts are held out, selected by a hash
of the prompt or of the row's `group`, so that no conversation is in both parts.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import fmean

from sayso.align.pairs.comparisons import ComparisonRow
from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut, separate
from sayso.batch.judged import Comparison, JudgedPrompt
from sayso.judge.held_out import rank
from sayso.token.chat import prompt_ids, reply_ids
from sayso.token.tokenizer import Tokenizer

FEWEST = 8
"""Minimum number of held-out prompts."""


@dataclass
class Question:
    """A prompt with its replies as text, and their comparisons and ratings."""

    prompt: list[ComparisonRow]
    group: str
    replies: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    ratings: dict[int, list[float]] = field(default_factory=dict)
    """Ratings by the number of the reply, which may have several."""

    def number(self, reply: str) -> int:
        """Return the number of a reply; add the reply if it is new."""
        if reply not in self.replies:
            self.replies.append(reply)
        return self.replies.index(reply)

    def rating(self, number: int) -> float | None:
        """Return the mean rating of a reply; None if it has none."""
        ratings = self.ratings.get(number)
        return fmean(ratings) if ratings else None


def questions(rows: Sequence[ComparisonRow]) -> list[Question]:
    """Group pairs and ratings by prompt, in order of first occurrence."""
    found: dict[str, Question] = {}
    for row in rows:
        key = json.dumps(row["prompt"], sort_keys=True)
        one = found.setdefault(key, Question(row["prompt"], str(row.get("group", key))))
        if "chosen" in row:
            better, worse = one.number(row["chosen"]), one.number(row["rejected"])
            one.comparisons.append(Comparison(better, worse, float(row.get("margin", 0.0)), bool(row.get("tie"))))
        else:
            rating = float(row["good"]) if "good" in row else row["rating"]
            one.ratings.setdefault(one.number(row["reply"]), []).append(rating)
    return list(found.values())


def hold_out_questions(
    items: Sequence[Question], held: Sequence[Question], held_out: float | Path
) -> tuple[list[Question], list[Question]]:
    """Return the questions to train on and those held out: `held` for a file, otherwise some conversations.

    With fewer than `FEWEST` questions, none are held out. Raises `UserError` for a file with fewer, or one that leaves
    nothing to train on.
    """
    if not isinstance(held_out, Path):
        train, selected = HoldOut(held_out).split(items, _group, rank)
        return (train, selected) if len(selected) >= FEWEST else (list(items), [])
    if len(held) < FEWEST:
        raise UserError(
            f"--held-out '{held_out}' must have at least {FEWEST} prompts to evaluate a reward model; got {len(held)}. "
            "Add some, or pass a share such as 0.1."
        )
    train, _ = separate(items, {one.group for one in held}, _group)
    if not train:
        raise UserError(f"--held-out '{held_out}' contains all prompts, so none are left to train on; shorten it.")
    return train, list(held)


def tokenized(
    items: Sequence[Question], tokenizer: Tokenizer, context: int, *, mean: float = 0.0, std: float = 1.0
) -> list[tuple[Question, JudgedPrompt]]:
    """Return the questions whose replies all fit the context, with their ids; normalize ratings by `mean` and `std`."""
    found = []
    for one in items:
        prompt = prompt_ids(tokenizer, one.prompt)
        replies = [reply_ids(tokenizer, reply) for reply in one.replies]
        ratings = [one.rating(number) for number in range(len(replies))] if one.ratings else []
        normalized = [None if rating is None else (rating - mean) / std for rating in ratings]
        judged = JudgedPrompt(prompt, replies, one.comparisons, normalized)
        if judged.longest <= context:
            found.append((one, judged))
    return found


def spoiled(reply: str) -> dict[str, str]:
    """Return degraded versions of a reply: its first half, the reply twice, and an empty one."""
    words = reply.split()
    versions = {"truncated": " ".join(words[: len(words) // 2]), "repeated": f"{reply} {reply}", "empty": ""}
    return {name: text for name, text in versions.items() if text.strip() or name == "empty"}


def best_reply(one: Question) -> int:
    """Return the number of the reply with the most wins minus losses; of equal ones, with the best rating."""
    wins = [0] * len(one.replies)
    for each in one.comparisons:
        if not each.tie:
            wins[each.better] += 1
            wins[each.worse] -= 1
    return max(range(len(wins)), key=lambda number: (wins[number], one.rating(number) or 0.0))


def spoil(items: Sequence[Question], share: float, seed: int) -> list[Question]:
    """Return the questions, a `share` of them with an added comparison: the best reply beats a degraded version."""
    if not 0 <= share <= 1:
        raise UserError(f"--spoil must be from 0 to 1; got {share:g}.")
    draw, found = Random(seed), []
    for one in items:
        if draw.random() >= share:
            found.append(one)
            continue
        best, copy = best_reply(one), deepcopy(one)
        worse = draw.choice(list(spoiled(one.replies[best]).values()))
        copy.comparisons.append(Comparison(best, copy.number(worse)))
        found.append(copy)
    return found


def _group(question: Question) -> str:
    return question.group
