"""Rows of single ratings for preference training: a prompt, a reply, and whether it was liked.

Beside the rated rows of a batch lie as many of the same prompts with replies to other ones, which KTO measures its
drift on. A part of a batch keeps them all, so that the drift is that of the whole batch however it is shared out.
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
    """[M,T]: prompts of the whole batch, each with the reply to another one."""


class RatingBatches:
    """Batches of ratings: `batch(step)` is a pure function of the ratings, the sizes, the seed and the step."""

    def __init__(self, ratings: Sequence[_Rating], rows: int, context: int, seed: int) -> None:
        """Check the ratings.

        Raises `UserError` for none at all, for ratings that are all good or all bad, for one with an empty part or
        longer than `context`, and for one that no reply to another prompt fits.
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
        self.strangers = [_stranger(index, ratings, context) for index in range(len(ratings))]
        self.steps_per_epoch = -(-len(ratings) // rows)

    def batch(self, step: int) -> RatingBatch:
        """Return the batch of a step: the ratings `step * B` to `(step + 1) * B` of an endless run over the epochs."""
        return self._of([index for _, index in self._order.items(step * self.rows, self.rows)])

    def in_order(self) -> Iterator[RatingBatch]:
        """Yield every rating once, in the order given."""
        for first in range(0, len(self.ratings), self.rows):
            yield self._of(list(range(first, min(first + self.rows, len(self.ratings)))))

    def _of(self, picked: list[int]) -> RatingBatch:
        prompts = [self.ratings[index][0] for index in picked]
        own = [self.ratings[index][1] for index in picked]
        strange = [self.ratings[self.strangers[index]][1] for index in picked]
        rows = padded(list(zip(prompts, own, strict=True)), picked, self.context)
        others = padded(list(zip(prompts, strange, strict=True)), picked, self.context)
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


def _stranger(index: int, ratings: Sequence[_Rating], context: int) -> int:
    """Return the next rating, going round, whose prompt is another one and whose reply fits after this prompt."""
    prompt = list(ratings[index][0])
    for other in chain(range(index + 1, len(ratings)), range(index)):
        if list(ratings[other][0]) != prompt and len(prompt) + len(ratings[other][1]) <= context:
            return other
    raise UserError(
        f"KTO measures drift on replies to other prompts, but no such reply fits after the prompt of rating {index}; "
        "rate replies to at least two prompts, or drop it."
    )
