"""Batches of pairs for preference training: a prompt, the chosen reply, and the rejected reply.

Each pair has two rows; all chosen replies come first, then the rejected ones in the same order. Only replies are
trained on. Rows are as wide as the longest one, rounded up to a multiple of 16 so that shapes recur, and at most
`context`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from typing_extensions import override

from sayso.base.errors import UserError
from sayso.batch.batch import IGNORED, PADDING, Batch
from sayso.batch.order import Order, check_sizes

Pair = tuple[Sequence[int], Sequence[int], Sequence[int]]  # prompt, chosen, rejected
WIDTH_STEP = 16


class PairBatch(Batch):
    """ids, targets, documents [2B,T]: row i is the chosen reply of pair i, row B + i its rejected one."""

    @property
    @override
    def items(self) -> int:
        """Number of pairs."""
        return len(self.ids) // 2

    @override
    def shares(self, parts: int) -> list[torch.Tensor]:
        """Return the rows of each part: both rows of each of its pairs, the chosen ones first."""
        return [torch.cat((chosen, chosen + self.items)) for chosen in super().shares(parts)]


class PairBatches:
    """Batches of pairs: `batch(step)` is a pure function of the pairs, the sizes, the seed and the step."""

    def __init__(self, pairs: Sequence[Pair], rows: int, context: int, seed: int) -> None:
        """Check the pairs.

        Raises `UserError` if there are none, and for a pair that exceeds `context`, has an empty prompt or reply, or
        has two equal replies.
        """
        check_sizes(rows, context, seed)
        if not pairs:
            raise UserError("Alignment needs at least one pair; got none. Gather ratings with: sayso gather")
        for index, pair in enumerate(pairs):
            _check(index, pair, context)
        self.pairs, self.rows, self.context = pairs, rows, context
        self._order = Order(seed, len(pairs))
        self.steps_per_epoch = -(-len(pairs) // rows)

    def batch(self, step: int) -> PairBatch:
        """Return the batch of a step: `rows` pairs, the next ones in the order of the epochs."""
        return self._of([index for _, index in self._order.items(step * self.rows, self.rows)])

    def in_order(self) -> Iterator[PairBatch]:
        """Yield every pair once, in the order given."""
        for first in range(0, len(self.pairs), self.rows):
            yield self._of(list(range(first, min(first + self.rows, len(self.pairs)))))

    def _of(self, picked: list[int]) -> PairBatch:
        texts = [(self.pairs[index][0], self.pairs[index][side]) for side in (1, 2) for index in picked]
        return PairBatch(*padded(texts, picked * 2, self.context))


def padded(
    texts: Sequence[tuple[Sequence[int], Sequence[int]]], numbers: Sequence[int], context: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, targets and documents [B,T] of prompts with replies; `numbers` are the documents of the rows."""
    longest = max(len(prompt) + len(reply) for prompt, reply in texts)
    shape = (len(texts), min(context, -(-longest // WIDTH_STEP) * WIDTH_STEP))
    ids, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
    documents = np.full(shape, PADDING, np.int32)
    for i, (prompt, reply) in enumerate(texts):
        start, end = len(prompt), len(prompt) + len(reply)
        ids[i, :start], ids[i, start:end] = prompt, reply
        targets[i, start - 1 : end - 1] = reply
        documents[i, :end] = numbers[i]
    return torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(documents)


def _check(index: int, pair: Pair, context: int) -> None:
    prompt, chosen, rejected = map(list, pair)
    longest = len(prompt) + max(len(chosen), len(rejected))
    if longest > context:
        raise UserError(
            f"A prompt and its reply must fit in the context of {context} tokens; pair {index} has {longest}. "
            "Train with a longer context, or drop it."
        )
    if not (prompt and chosen and rejected):
        raise UserError(f"A pair needs a prompt and two replies, none empty; pair {index} has an empty one. Drop it.")
    if chosen == rejected:
        raise UserError(f"The two replies of a pair must differ; those of pair {index} are the same. Drop it.")
