"""A batch: input ids, targets, and the document of each position.

`B` rows of `T` positions. A target of -100, which torch's cross entropy ignores, is not trained on. Positions of a row
attend to each other only if they have the same document number. Padding has the number -1 and no target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch

IGNORED = -100
PADDING = -1
SHARED = {"shared": True}
"""Metadata of a field that every part of a batch has in common."""


@dataclass(frozen=True)
class Batch:
    """ids [B,T] int64, targets [B,T] int64 (-100 = not trained on), documents [B,T] int32."""

    ids: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor

    @property
    def trained(self) -> int:
        """Number of positions with a target."""
        return int((self.targets != IGNORED).sum())

    @property
    def items(self) -> int:
        """Number of indivisible items: rows, or pairs or prompts of several rows each."""
        return len(self.ids)

    def split(self, parts: int) -> list[Self]:
        """Split the items into at most `parts` parts of nearly equal size."""
        return [self.take(share) for share in self.shares(min(parts, self.items))]

    def shares(self, parts: int) -> Sequence[torch.Tensor]:
        """Return the items of each of `parts` parts, as numbers that `take` accepts."""
        return torch.arange(self.items).tensor_split(parts)

    def take(self, rows: torch.Tensor) -> Self:
        """Return some rows as a batch: these rows of every field that is not `SHARED`."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if not one.metadata.get("shared")}
        return replace(self, **{name: value[rows] for name, value in own.items()})


class HasBatches(Protocol):
    """Batches as a pure function of the step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...
