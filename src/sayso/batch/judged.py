"""Batches for a reward model: prompts, each with all its replies and their ratings and comparisons.

All comparisons of one prompt stay in one batch element, and each reply is read once (Ouyang et al. 2022: if spread over
an epoch, the same replies overfit). A reply is a document that starts with its prompt; documents are packed into rows
as wide as the longest in the batch, in steps of 64, to limit padding. There are no targets: the trained output is the
score at a document's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from typing_extensions import override

from sayso.base.errors import UserError
from sayso.batch.batch import IGNORED, PADDING, Batch
from sayso.batch.chat import pack_rows
from sayso.batch.order import Order, check_sizes
from sayso.batch.pairs import WIDTH_STEP


@dataclass(frozen=True)
class Comparison:
    """What someone said of two replies, by their numbers."""

    better: int
    worse: int
    margin: float = 0.0
    """By how much, on the scale of scores."""
    tie: bool = False
    """Neither is better, whatever the names say."""


@dataclass(frozen=True)
class JudgedPrompt:
    """One prompt, its replies, and their ratings and comparisons; replies and prompt are ids."""

    prompt: Sequence[int]
    replies: Sequence[Sequence[int]]
    comparisons: Sequence[Comparison] = ()
    ratings: Sequence[float | None] = ()
    """Of each reply, None where it has none; empty where none has."""

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return len(self.prompt) + max(map(len, self.replies))


@dataclass(frozen=True)
class JudgedBatch(Batch):
    """ids, targets (none), documents [B,T] of all R replies, counted through, and what was said of them."""

    places: torch.Tensor
    """[R] int64: index of each reply among the documents, row by row."""
    pairs: torch.Tensor
    """[N,2] int64: the better and the worse reply."""
    margins: torch.Tensor
    """[N]"""
    ties: torch.Tensor
    """[N] bool"""
    pair_weights: torch.Tensor
    """[N]: 1 over the comparisons of the prompt."""
    ratings: torch.Tensor
    """[R]: NaN where there is none."""
    rating_weights: torch.Tensor
    """[R]: 1 over the ratings of the prompt."""
    judged: Sequence[JudgedPrompt]

    @override
    def shares(self, parts: int) -> Sequence[torch.Tensor]:
        """Return the prompts, rather than the rows, of each part."""
        return torch.arange(len(self.judged)).tensor_split(min(parts, len(self.judged)))

    @override
    def take(self, rows: torch.Tensor) -> Self:
        """Return some prompts with all their replies, packed into rows of their own."""
        return type(self)(**vars(collate([self.judged[prompt] for prompt in rows.tolist()])))


class JudgedBatches:
    """Batches of judged prompts: `batch(step)` is a pure function of the prompts, the sizes, the seed and the step."""

    def __init__(self, judged: Sequence[JudgedPrompt], rows: int, context: int, seed: int) -> None:
        """Take the prompts, `rows` of them to a batch.

        Raises `UserError` for none at all, and, with its number, for one with an empty prompt or reply, with nothing
        said of its replies, or longer than the context.
        """
        check_sizes(rows, context, seed)
        if not judged:
            raise UserError("Training a reward model needs at least one comparison or rating; got none.")
        for number, one in enumerate(judged):
            _check(number, one, context)
        self.judged, self.rows, self.context = judged, rows, context
        self._order = Order(seed, len(judged))
        self.steps_per_epoch = -(-len(judged) // rows)

    def batch(self, step: int) -> JudgedBatch:
        """Return the batch of a step: the prompts `step * B` to `(step + 1) * B` of an endless run over the epochs."""
        picked = [index for _, index in self._order.items(step * self.rows, self.rows)]
        return collate([self.judged[index] for index in picked])


def collate(judged: Sequence[JudgedPrompt]) -> JudgedBatch:
    """Return prompts with their replies as one batch."""
    texts = [[*one.prompt, *reply] for one in judged for reply in one.replies]
    first = np.cumsum([0, *(len(one.replies) for one in judged)]).tolist()
    pairs = [
        (at + each.better, at + each.worse) for at, one in zip(first, judged, strict=False) for each in one.comparisons
    ]
    said = [(each.margin, each.tie, 1 / len(one.comparisons)) for one in judged for each in one.comparisons]
    margins, ties, weights = np.array(said, np.float64).reshape(-1, 3).T
    ratings = [rating for one in judged for rating in _ratings(one)]
    return JudgedBatch(
        *_packed(texts),
        pairs=torch.tensor(pairs, dtype=torch.int64).view(-1, 2),
        margins=torch.tensor(margins, dtype=torch.float32),
        ties=torch.tensor(ties, dtype=torch.bool),
        pair_weights=torch.tensor(weights, dtype=torch.float32),
        ratings=torch.tensor([rating for rating, _ in ratings], dtype=torch.float32),
        rating_weights=torch.tensor([weight for _, weight in ratings], dtype=torch.float32),
        judged=judged,
    )


def _packed(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, targets, documents [B,T] and places [R] of documents."""
    lengths = np.array([len(text) for text in texts], np.int64)
    width = -(-int(lengths.max()) // WIDTH_STEP) * WIDTH_STEP
    rows = pack_rows(lengths, width)
    ids, documents = np.zeros((len(rows), width), np.int64), np.full((len(rows), width), PADDING, np.int32)
    for row, numbers in enumerate(rows):
        start = 0
        for number in numbers:
            end = start + len(texts[number])
            ids[row, start:end], documents[row, start:end] = texts[number], number
            start = end
    order = np.array([number for row in rows for number in row], np.int64)
    return (
        torch.from_numpy(ids),
        torch.full(ids.shape, IGNORED),
        torch.from_numpy(documents),
        torch.from_numpy(np.argsort(order)),
    )


def _ratings(one: JudgedPrompt) -> list[tuple[float, float]]:
    """Return rating and weight of each reply."""
    given = one.ratings or [None] * len(one.replies)
    count = sum(rating is not None for rating in given)
    return [(float("nan"), 0.0) if rating is None else (rating, 1 / count) for rating in given]


def _check(number: int, one: JudgedPrompt, context: int) -> None:
    if not one.prompt or not one.replies or not all(map(len, one.replies)):
        raise UserError(f"A prompt and its replies must not be empty; prompt {number} has an empty one. Drop it.")
    if not one.comparisons and all(rating is None for rating in one.ratings):
        raise UserError(f"A prompt needs a comparison or a rating; prompt {number} has neither. Drop it.")
    if one.longest > context:
        raise UserError(
            f"A prompt and its reply must fit in the context of {context} tokens; prompt {number} has {one.longest}. "
            "Train with a longer context, or drop it."
        )
