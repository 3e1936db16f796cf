"""Batches of continuous text for pre-training, without padding.

The documents of an epoch are concatenated in that epoch's order and split every `T` positions; the rows are then
shuffled, so that the pieces of a book do not fill one batch. A document's last token has no target, because it cannot
predict the next document; `documents` limits attention to a document.
"""

from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import torch

from sayso.base.errors import UserError
from sayso.batch.batch import IGNORED, PADDING, Batch
from sayso.batch.order import Numbers, Order, check_sizes, permutation
from sayso.batch.shards import Shards

_DOCUMENTS = 1  # stream of random numbers for the order of documents; that of the rows is 0


class TextBatches:
    """Batches of text: `batch(step)` is a pure function of the shards, the sizes, the seed and the step."""

    def __init__(self, shards: Shards, rows: int, context: int, seed: int) -> None:
        check_sizes(rows, context, seed)
        if shards.lengths.max() < 2:
            raise UserError("Training text needs documents of at least two tokens; all of these have one.")
        self.shards, self.rows, self.context, self.seed = shards, rows, context, seed
        # the last token of the epoch is only a target
        self.rows_per_epoch = max(1, -(-(shards.tokens - 1) // context))
        self.steps_per_epoch = -(-self.rows_per_epoch // rows)
        self._order = Order(seed, self.rows_per_epoch)
        self._stream = lru_cache(maxsize=1)(self._stream_of_epoch)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step: the next rows in the order of the epochs."""
        picked = self._order.items(step * self.rows, self.rows)
        parts = [
            self._rows(epoch, np.array([row for _, row in group], np.int64))
            for epoch, group in groupby(picked, key=itemgetter(0))
        ]
        ids, targets, documents = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
        return Batch(ids, targets, documents)

    def _rows(self, epoch: int, rows: Numbers) -> tuple[Numbers, Numbers, npt.NDArray[np.int32]]:
        """Return ids, targets and documents of some rows of an epoch, each [rows,T]."""
        order, ends = self._stream(epoch)
        position = rows[:, None] * self.context + np.arange(self.context + 1)
        inside = position < ends[-1]
        place = np.searchsorted(ends, np.minimum(position, ends[-1] - 1), "right")
        document = order[place]
        # the distance of a position to the end of its document is the same in the stream and in the shard
        source = self.shards.starts[document] + self.shards.lengths[document] - (ends[place] - position)
        ids = self.shards.take(np.where(inside, source, 0))
        same = inside[:, 1:] & (document[:, 1:] == document[:, :-1])
        targets = np.where(same, ids[:, 1:], IGNORED)
        documents = np.where(inside, document, PADDING)[:, :-1].astype(np.int32)
        return ids[:, :-1], targets, documents

    def _stream_of_epoch(self, epoch: int) -> tuple[Numbers, Numbers]:
        """Return the order of an epoch's documents and the end of each in the stream, both [D]."""
        order = permutation(self.seed, epoch, len(self.shards), _DOCUMENTS)
        return order, np.cumsum(self.shards.lengths[order])
