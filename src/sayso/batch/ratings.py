"""Batches of single ratings for preference training: a prompt, a reply, and whether it is good.

A batch also has a mismatched row for each rated row, the same prompt with a reply to another prompt, on which KTO
measures the drift of the policy. Every part of a batch has all mismatched rows, so its drift is that of the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch

from sayso.base.errors import UserError
from sayso.batch.batch import SHARED, Batch
from sayso.batch.order import Order, check_sizes
from sayso.batch.pairs import padded

_Rating = tuple[Sequence[int], Sequence[int], bool]  # prompt, reply, good


@dataclass(frozen=True)
class RatingBatch(Batch):
    """ids, targets, documents [B,T] of rated replies."""

    good: torch.Tensor
    """[B] bool."""
    others: Batch = field(metadata=SHARED)
    """[M,T]: mismatched rows of the entire batch: each prompt with a reply to another one."""


class RatingBatches:
    """Batches of ratings: `batch(step)` is a pure function of the ratings, the sizes, the seed and the step."""

    def __init__(self, ratings: Sequence[_Rating], rows: int, context: int, seed: int) -> None:
        """Check the ratings.

        Raises `UserError` if they are not both good and bad, and for a rating with an empty prompt or reply, one that
        exceeds `context`, or one for which no reply to another prompt fits.
        """
        check_sizes(rows, context, seed)
        self.good = sum(good for _, _, good in ratings)
        self.bad = len(ratings) - self.good
        if not self.good or not self.bad:
            raise UserError(f"KTO needs both good and bad ratings; got {self.good:,} good and {self.bad:,} bad ones.")
        for index, rating in enumerate(ratings):
            _check(index, rating, context)
        self.ratings, self.rows, self.context = ratings, rows, context
        self._order = Order(seed, len(ratings))
        self.mismatched = [_mismatched(index, ratings, context) for index in range(len(ratings))]
        self.steps_per_epoch = -(-len(ratings) // rows)

    def batch(self, step: int) -> RatingBatch:
        """Return the batch of a step: `rows` ratings, the next ones in the order of the epochs."""
        return self._of([index for _, index in self._order.items(step * self.rows, self.rows)])

    def in_order(self) -> Iterator[RatingBatch]:
        """Yield every rating once, in the order given."""
        for first in range(0, len(self.ratings), self.rows):
            yield self._of(list(range(first, min(first + self.rows, len(self.ratings)))))

    def _of(self, picked: list[int]) -> RatingBatch:
        prompts = [self.ratings[index][0] for index in picked]
        replies = [self.ratings[index][1] for index in picked]
        mismatched = [self.ratings[self.mismatched[index]][1] for index in picked]
        rows = padded(list(zip(prompts, replies, strict=True)), picked, self.context)
        others = padded(list(zip(prompts, mismatched, strict=True)), picked, self.context)
        return RatingBatch(*rows, torch.tensor([self.ratings[index][2] for index in picked]), Batch(*others))


def _check(index: int, rating: _Rating, context: int) -> None:
    prompt, reply, _ = rating
    if not (len(prompt) and len(reply)):
        raise UserError(
            f"A rating needs a prompt and a reply, neither empty; rating {index} has an empty one. Drop it."
        )
    if len(prompt) + len(reply) > context:
        raise UserError(
            f"A prompt and its reply must fit in the context of {context} tokens; rating {index} has "
            f"{len(prompt) + len(reply)}. Train with a longer context, or drop it."
        )


def _mismatched(index: int, ratings: Sequence[_Rating], context: int) -> int:
    """Return the next rating, cyclically, that has another prompt and a reply that fits after this prompt."""
    prompt = list(ratings[index][0])
    for other in chain(range(index + 1, len(ratings)), range(index)):
        if list(ratings[other][0]) != prompt and len(prompt) + len(ratings[other][1]) <= context:
            return other
    raise UserError(
        f"KTO measures drift on replies to other prompts, but no such reply fits after the prompt of rating {index}; "
        "rate replies to at least two prompts, or drop it."
    )
