"""One batch: input ids, targets, and which positions belong to the same document.

`B` rows, `T` positions. A target of -100 is not trained (the value that torch's cross entropy ignores). Positions
of a row attend to each other only if they have the same document number; padding is -1 and is never trained.
"""

from dataclasses import dataclass

import torch

IGNORED = -100
PADDING = -1


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

    def split(self, parts: int) -> list["Batch"]:
        """Split the rows into at most `parts` parts of nearly equal size."""
        parts = min(parts, len(self.ids))
        pieces = (x.tensor_split(parts) for x in (self.ids, self.targets, self.documents))
        return [Batch(*piece) for piece in zip(*pieces, strict=True)]
