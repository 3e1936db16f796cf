"""Rows of what a policy said, as a step of reinforcement learning reads them: one reply a row, after its prompt.

Ids and what is known of each id of a reply enter, tensors that stand where its target stands leave. Rows are as wide
as the longest of the batch, in steps of 8. B rows, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from sayso.batch.batch import IGNORED, PADDING, Batch

_WIDTH_STEP = 8
NUMBERS = ("old", "reference", "advantages", "values", "returns")


@dataclass(frozen=True)
class RolloutRow:
    """One reply, and of each of its ids what is known; a list that is empty is all zeros."""

    prompt: Sequence[int]
    ids: Sequence[int]
    trained: Sequence[bool]
    """Which ids the policy chose and is to learn from: no tool's words, nothing that was forced."""
    old: Sequence[float] = ()
    """log p of each id when it was sampled, at the temperature of sampling."""
    reference: Sequence[float] = ()
    """log p under the reference, at that temperature."""
    advantages: Sequence[float] = ()
    values: Sequence[float] = ()
    """What the value model expected before each id."""
    returns: Sequence[float] = ()
    """What came of it."""


@dataclass(frozen=True)
class RolloutBatch(Batch):
    """ids, targets, documents [B,T] of a batch, and float32 [B,T] of what `RolloutRow` tells of each target."""

    old: Tensor = field(default_factory=lambda: torch.empty(0))
    reference: Tensor = field(default_factory=lambda: torch.empty(0))
    advantages: Tensor = field(default_factory=lambda: torch.empty(0))
    values: Tensor = field(default_factory=lambda: torch.empty(0))
    returns: Tensor = field(default_factory=lambda: torch.empty(0))

    @override
    def shares(self, parts: int) -> list[Tensor]:
        """Spread long and short rows evenly."""
        parts = min(parts, len(self.ids))
        order = self._lengths.argsort(descending=True, stable=True)
        return [order[part::parts] for part in range(parts)]

    @override
    def take(self, rows: Tensor) -> Self:
        """Return some rows, as wide as the longest of them requires."""
        width = -(-int(self._lengths[rows].max()) // _WIDTH_STEP) * _WIDTH_STEP
        part = super().take(rows)
        return replace(part, **{one.name: getattr(part, one.name)[:, :width] for one in fields(part)})

    @property
    def _lengths(self) -> Tensor:
        return (self.documents != PADDING).sum(1)


def rollout_batch(rows: Sequence[RolloutRow]) -> RolloutBatch:
    """Return a batch of replies; each id of a reply is the target of the position before it."""
    longest = max(len(row.prompt) + len(row.ids) for row in rows)
    shape = (len(rows), -(-longest // _WIDTH_STEP) * _WIDTH_STEP)
    ids, targets = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
    documents = np.full(shape, PADDING, np.int32)
    numbers = {name: np.zeros(shape, np.float32) for name in NUMBERS}
    for number, row in enumerate(rows):
        start, end = len(row.prompt), len(row.prompt) + len(row.ids)
        ids[number, :start], ids[number, start:end] = row.prompt, row.ids
        documents[number, :end] = number
        here = slice(start - 1, end - 1)
        targets[number, here] = np.where(row.trained, row.ids, IGNORED)
        for name, column in numbers.items():
            if known := getattr(row, name):
                column[number, here] = known
    return RolloutBatch(*map(torch.from_numpy, (ids, targets, documents, *numbers.values())))


def of_replies(x: Tensor, rows: Sequence[RolloutRow]) -> list[list[float]]:
    """Return, for each reply, the numbers in [B, T] at the positions of its targets: the inverse of packing."""
    places = ((len(row.prompt) - 1, len(row.prompt) + len(row.ids) - 1) for row in rows)
    return [x[number, start:end].tolist() for number, (start, end) in enumerate(places)]
