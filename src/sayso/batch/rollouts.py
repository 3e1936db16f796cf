"""Batches of rollouts for reinforcement learning: in each row a prompt and the reply that the policy sampled.

The values of each token of a reply, such as its advantage, are at the position whose target is that token. Rows are as
wide as the longest one, rounded up to a multiple of 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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
    """One reply, with values for each of its ids; an empty list stands for zeros."""

    prompt: Sequence[int]
    ids: Sequence[int]
    trained: Sequence[bool]
    """Which ids to train on: those that the policy sampled, not the results of tools."""
    old: Sequence[float] = ()
    """Log-probability before the update, at the temperature of sampling."""
    reference: Sequence[float] = ()
    """Log-probability under the reference, at the same temperature."""
    advantages: Sequence[float] = ()
    values: Sequence[float] = ()
    """Value predicted before each id."""
    returns: Sequence[float] = ()
    """Target of the value model."""


@dataclass(frozen=True)
class RolloutBatch(Batch):
    """ids, targets, documents [B,T], and the values of `RolloutRow` for each target, [B,T] float32."""

    old: Tensor
    reference: Tensor
    advantages: Tensor
    values: Tensor
    returns: Tensor

    @override
    def shares(self, parts: int) -> list[Tensor]:
        """Return the rows of each part, with long and short ones spread evenly."""
        order = self._lengths.argsort(descending=True, stable=True)
        return [order[part::parts] for part in range(parts)]

    @override
    def take(self, rows: Tensor) -> Self:
        """Return some rows, cut to the width that the longest of them needs."""
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
            if values := getattr(row, name):
                column[number, here] = values
    return RolloutBatch(*map(torch.from_numpy, (ids, targets, documents, *numbers.values())))


def of_replies(x: Tensor, rows: Sequence[RolloutRow]) -> list[list[float]]:
    """Return the values in `x` [B,T] at the targets of each reply, the inverse of `rollout_batch`."""
    places = ((len(row.prompt) - 1, len(row.prompt) + len(row.ids) - 1) for row in rows)
    return [x[number, start:end].tolist() for number, (start, end) in enumerate(places)]
