"""One batch: what the model reads, what it is to say next, and which positions belong together.

`B` rows, `T` positions. A target of -100 is not trained (the value that torch's cross entropy leaves out). Positions
of a row with the same document number may look at each other; padding has the number -1 and is never trained.
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
        """Return the rows in at most so many parts of nearly equal size."""
        parts = min(parts, len(self.ids))
        pieces = (x.tensor_split(parts) for x in (self.ids, self.targets, self.documents))
        return [Batch(*piece) for piece in zip(*pieces, strict=True)]
