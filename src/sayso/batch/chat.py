"""Batches of conversations for fine-tuning: several per row, none split, no attention between them.

Takes the ids of each conversation and a mask of the trained ones. Conversations are packed once, in a random order so
that rows mix long and short ones, each into the fullest row with room for it (best fit). An epoch is an order of these
rows. Tokens that are not trained on have the target -100.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sayso.base.errors import UserError
from sayso.batch.batch import IGNORED, PADDING, Batch
from sayso.batch.order import Numbers, Order, check_sizes, permutation

MaskedIds = tuple[Sequence[int], Sequence[bool]]
_PACKING = 2  # stream of random numbers for the order of packing; that of the rows is 0


class ChatBatches:
    """Batches of conversations: `batch(step)` is a pure function of the conversations, sizes, seed and step."""

    def __init__(self, conversations: Sequence[MaskedIds], rows: int, context: int, seed: int) -> None:
        """Check and pack the conversations.

        Raises `UserError` if there are none, and for one that exceeds `context` or has no trained token.
        """
        check_sizes(rows, context, seed)
        if not conversations:
            raise UserError("Fine-tuning needs at least one conversation; got none. Prepare some with: sayso prepare")
        for index, conversation in enumerate(conversations):
            _check(index, conversation, context)
        self.rows, self.context = rows, context
        lengths = np.array([len(ids) for ids, _ in conversations], np.int64)
        shuffled = permutation(seed, 0, len(lengths), _PACKING)
        packed = [[int(shuffled[item]) for item in row] for row in pack_rows(lengths[shuffled], context)]
        self.rows_per_epoch = len(packed)
        self._order = Order(seed, len(packed))
        self.steps_per_epoch = -(-self.rows_per_epoch // rows)
        # stored in packed order, so that a row is a slice
        order = [index for row in packed for index in row]
        self._row_ends = np.cumsum([lengths[row].sum() for row in packed])
        self._ids = np.concatenate([np.asarray(conversations[index][0], np.int32) for index in order])
        self._targets = np.concatenate([_targets(*conversations[index]) for index in order])
        self._documents = np.repeat(np.array(order, np.int32), lengths[order])

    @property
    def utilization(self) -> float:
        """Share of positions that are not padding."""
        return len(self._ids) / (self.rows_per_epoch * self.context)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step: the next rows in the order of the epochs."""
        shape = (self.rows, self.context)
        ids, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
        documents = np.full(shape, PADDING, np.int32)
        for i, (_, row) in enumerate(self._order.items(step * self.rows, self.rows)):
            start, end = int(self._row_ends[row - 1]) if row else 0, int(self._row_ends[row])
            ids[i, : end - start] = self._ids[start:end]
            targets[i, : end - start] = self._targets[start:end]
            documents[i, : end - start] = self._documents[start:end]
        return Batch(torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(documents))


def fit_rows(conversations: Iterable[MaskedIds], context: int) -> tuple[list[MaskedIds], list[MaskedIds]]:
    """Split conversations into those that fit into `context` and those that do not."""
    kept: list[MaskedIds] = []
    dropped: list[MaskedIds] = []
    for conversation in conversations:
        (kept if len(conversation[0]) <= context else dropped).append(conversation)
    return kept, dropped


def pack_rows(lengths: Numbers, context: int) -> list[list[int]]:
    """Return rows of item numbers, so that the lengths in each row add up to at most `context`.

    Each item in turn is put into the fullest row with room for it (best fit), in time linear in the number of items.
    """
    rows: list[list[int]] = []
    open_rows: dict[int, list[int]] = {}  # room left -> numbers of the rows with exactly this room
    rooms = 0  # bit r is set if a row has room r, so that the smallest sufficient room is found by a shift
    for item, length in enumerate(lengths.tolist()):
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms &= ~(1 << room)
        else:
            room, row = context, len(rows)
            rows.append([])
        rows[row].append(item)
        if room - length:
            open_rows.setdefault(room - length, []).append(row)
            rooms |= 1 << (room - length)
    return rows


def _check(index: int, conversation: MaskedIds, context: int) -> None:
    ids, mask = conversation
    assert len(ids) == len(mask), "one mask value per id"
    if len(ids) > context:
        raise UserError(
            f"A conversation must fit in the context of {context} tokens; conversation {index} has {len(ids)}. "
            "Train with a longer context, or drop it."
        )
    if not any(mask[1:]):
        raise UserError(
            f"A conversation needs at least one trained token; conversation {index} has no assistant reply. Drop it."
        )


def _targets(ids: Sequence[int], mask: Sequence[bool]) -> Numbers:
    """Return the target of each position, [n]: the next id if it is trained on."""
    following = np.append(np.asarray(ids, np.int64)[1:], IGNORED)
    return np.where(np.append(np.asarray(mask, bool)[1:], False), following, IGNORED)
