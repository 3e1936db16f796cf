"""One batch: input ids, targets, and which positions belong to the same document.

`B` rows, `T` positions. A target of -100 is not trained (the value that torch's cross entropy ignores). Positions
of a row attend to each other only if they have the same document number; padding is -1 and is never trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch

IGNORED = -100
PADDING = -1
SHARED = {"shared": True}
"""Metadata of a field that has the same value in every part of a batch."""


@dataclass(frozen=True)
class Batch:
    """ids [B,T] int64, targets [B,T] int64 (-100 = not trained), documents [B,T] int32."""

    ids: torch.Tensor
    targets: torch.Tensor
    documents: torch.Tensor

    @property
    def trained(self) -> int:
        """How many positions have a target."""
        return int((self.targets != IGNORED).sum())

    def split(self, parts: int) -> list[Self]:
        """Split the rows into at most `parts` parts of nearly equal size."""
        return [self.take(rows) for rows in self.shares(parts)]

    def shares(self, parts: int) -> Sequence[torch.Tensor]:
        """Return the rows of each part; a subclass may keep some together."""
        return torch.arange(len(self.ids)).tensor_split(min(parts, len(self.ids)))

    def take(self, rows: torch.Tensor) -> Self:
        """Return some rows as a batch: these rows of every field that is not `SHARED`."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if not one.metadata.get("shared")}
        return replace(self, **{name: value[rows] for name, value in own.items()})
