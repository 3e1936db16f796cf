"""Batches for a reward model: prompts, each with all its replies and their ratings and comparisons.

All comparisons of a prompt are in the same batch, and each reply is processed once; spread over an epoch, they would
overfit (Ouyang et al. 2022). A reply is a document that starts with its prompt. Documents are packed into rows as wide
as the longest document, rounded up to a multiple of 16. There are no targets: the trained output is the score at the
end of each document.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Comparison of two replies, given by their numbers."""

    better: int
    worse: int
    margin: float = 0.0
    """Difference in quality, on the scale of scores."""
    tie: bool = False
    """Whether the replies are equally good, despite the field names."""


@dataclass(frozen=True)
class JudgedPrompt:
    """Ids of a prompt and of its replies, with their ratings and comparisons."""

    prompt: Sequence[int]
    replies: Sequence[Sequence[int]]
    comparisons: Sequence[Comparison] = ()
    ratings: Sequence[float | None] = ()
    """Rating of each reply, None if it has none; empty if no reply has one."""

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest reply."""
        return len(self.prompt) + max(map(len, self.replies))


@dataclass(frozen=True)
class JudgedBatch(Batch):
    """ids, targets (none) and documents [B,T] of all R replies, with their comparisons and ratings."""

    places: torch.Tensor
    """[R] int64: place of each reply in the order of the documents, row by row."""
    pairs: torch.Tensor
    """[N,2] int64: the better and the worse reply."""
    margins: torch.Tensor
    """[N]"""
    ties: torch.Tensor
    """[N] bool"""
    pair_weights: torch.Tensor
    """[N]: 1 / number of comparisons of the prompt."""
    ratings: torch.Tensor
    """[R]: NaN if there is none."""
    rating_weights: torch.Tensor
    """[R]: 1 / number of ratings of the prompt."""
    judged: Sequence[JudgedPrompt]

    @property
    @override
    def items(self) -> int:
        """Number of prompts."""
        return len(self.judged)

    @override
    def take(self, rows: torch.Tensor) -> "JudgedBatch":
        """Return some prompts, by their numbers, with all their replies packed again."""
        return collate([self.judged[prompt] for prompt in rows.tolist()])


class JudgedBatches:
    """Batches of judged prompts: `batch(step)` is a pure function of the prompts, the sizes, the seed and the step."""

    def __init__(self, judged: Sequence[JudgedPrompt], rows: int, context: int, seed: int) -> None:
        """Check the prompts; a batch has `rows` of them.

        Raises `UserError` if there are none, and for a prompt that is empty, has an empty reply, has neither
        comparisons nor ratings, or exceeds the context with a reply.
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
        """Return the batch of a step: `rows` prompts, the next ones in the order of the epochs."""
        picked = [index for _, index in self._order.items(step * self.rows, self.rows)]
        return collate([self.judged[index] for index in picked])


def collate(judged: Sequence[JudgedPrompt]) -> JudgedBatch:
    """Return prompts with their replies as one batch."""
    texts = [[*one.prompt, *reply] for one in judged for reply in one.replies]
    first = np.cumsum([0, *(len(one.replies) for one in judged)]).tolist()
    pairs = [
        (at + each.better, at + each.worse) for at, one in zip(first, judged, strict=False) for each in one.comparisons
    ]
    columns = [(each.margin, each.tie, 1 / len(one.comparisons)) for one in judged for each in one.comparisons]
    margins, ties, weights = np.array(columns, np.float64).reshape(-1, 3).T
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
    """Return ids, targets, documents [B,T] and places [R] of some documents."""
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
    """Return the rating and the weight of each reply."""
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
