"""Batches of two streams: a run's own, and rows of a second stream in every batch.

Fine-tuning and alignment replay documents this way, and pre-training reads conversations. The second stream has a share
s of the tokens, and s / (1 - s) times the weight of the first in the loss, a sum of both streams' means. They are
weighted as means because they differ in how many of their tokens have a target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from typing_extensions import override

from sayso.batch.batch import Batch, HasBatches
from sayso.batch.shards import Shards
from sayso.batch.text import TextBatches

SHORTEST_ROW = 128  # minimum tokens per row of documents; shorter rows would cut nearly every document


@dataclass(frozen=True)
class MixedBatch(Batch):
    """The ids, targets and documents of `first`, and the batches of both streams."""

    first: Batch
    second: Batch
    factor: float
    """Factor of the second batch's summed loss."""

    @classmethod
    def of(cls, first: Batch, second: Batch, factor: float) -> Self:
        """Join two batches."""
        return cls(first.ids, first.targets, first.documents, first, second, factor)

    @property
    @override
    def items(self) -> int:
        """Number of items of the first batch."""
        return self.first.items

    @override
    def split(self, parts: int) -> list[Self]:
        """Split both batches into as many parts as the first one; some may have no rows of the second."""
        firsts = self.first.split(parts)
        seconds = self.second.split(len(firsts))
        none = self.second.take(torch.arange(0))
        seconds += [none] * (len(firsts) - len(seconds))
        return [self.of(*pair, self.factor) for pair in zip(firsts, seconds, strict=True)]


class MixedBatches:
    """Batches of two streams: `batch(step)` is a pure function of the step if both are."""

    def __init__(self, first: HasBatches, second: HasBatches, share: float, items: Callable[[Batch], int]) -> None:
        """`share` is the second stream's share of the loss; `items` returns the divisor of the first stream's loss."""
        self.first, self.second, self.items = first, second, items
        self.weight = share / (1 - share)

    def batch(self, step: int) -> MixedBatch:
        """Return the batches of a step."""
        first, second = self.first.batch(step), self.second.batch(step)
        return MixedBatch.of(first, second, self.weight * self.items(first) / max(1, second.trained))


def with_documents(
    first: HasBatches, shards: Shards, share: float, context: int, seed: int, items: Callable[[Batch], int]
) -> MixedBatches:
    """Return batches in which documents have a `share` of the tokens and the loss, in rows of at most `context`.

    There are as many rows as in the first stream, so that processes have equal work, or fewer, so that they have at
    least `SHORTEST_ROW` tokens.
    """
    own = first.batch(0)
    tokens = second_size(own.ids.numel(), share)
    rows = max(1, min(len(own.ids), tokens // SHORTEST_ROW), -(-tokens // context))
    return MixedBatches(first, TextBatches(shards, rows, max(2, -(-tokens // rows)), seed), share, items)


def second_size(size: int, share: float) -> int:
    """Return the size of a second stream that has a `share` of both, for the `size` of the first.

    At least 1, or 0 for a share of 0.
    """
    return max(1, round(size * share / (1 - share))) if share else 0


def trained_tokens(batch: Batch) -> int:
    """Return the divisor of the next-token loss of a batch."""
    return batch.trained
