"""Rows of comparisons for preference training: one prompt, the reply that was chosen and the one that was rejected.

Each pair takes two rows, the chosen replies first, then the rejected in the same order; only a reply is trained. Rows
are as wide as the longest of the batch, in steps of 16 so that shapes recur, and at most `context`.
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

    @override
    def shares(self, parts: int) -> list[torch.Tensor]:
        """Keep the rows of a pair together, the chosen ones first."""
        pairs = len(self.ids) // 2
        return [torch.cat((rows, rows + pairs)) for rows in torch.arange(pairs).tensor_split(min(parts, pairs))]


class PairBatches:
    """Batches of pairs: `batch(step)` is a pure function of the pairs, the sizes, the seed and the step."""

    def __init__(self, pairs: Sequence[Pair], rows: int, context: int, seed: int) -> None:
        """Check the pairs.

        Raises `UserError` for none at all, for one that is longer than `context`, for an empty prompt or reply, and
        for two replies that are the same.
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
        """Return the batch of a step: the pairs `step * B` to `(step + 1) * B` of an endless run over the epochs."""
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
    """Return ids, targets and documents [B,T] of prompts with their replies, each row's document as numbered."""
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
