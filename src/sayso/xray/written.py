"""What a vector that is added to the residual stream would do to the logits, with the last norm frozen.

C width, V vocabulary.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sayso.model.norm import RMSNorm

if TYPE_CHECKING:
    from sayso.xray.view import View

MOST = 6
"""Tokens that are promoted, and suppressed, the most."""


def pushed(view: "View", position: int, vectors: Tensor) -> Tensor:
    """Return what vectors [n, C] in the residual stream at a position add to the logits [n, V], before a soft cap."""
    with torch.no_grad():
        return view.network.unembed(frozen(view.network.norm, vectors, view.scales[position])).float()


def frozen(norm: nn.Module, vectors: Tensor, scale: Tensor) -> Tensor:
    """Return vectors [n, C] as a norm passes them on, without its bias, when it divides by `scale`."""
    if isinstance(norm, nn.Identity):
        return vectors
    assert isinstance(norm, RMSNorm | nn.LayerNorm)
    centered = vectors if isinstance(norm, RMSNorm) else vectors - vectors.mean(-1, keepdim=True)
    return centered / scale * norm.weight


def extremes(view: "View", logits: Tensor) -> dict[str, list[list[Any]]]:
    """Return the tokens that logits [V] promote and suppress the most, each as its id, text and number."""
    k = min(MOST, len(logits) // 2)
    sides = {"promotes": logits.topk(k), "suppresses": logits.topk(k, largest=False)}
    return {
        side: [
            [token, view.text(token), value]
            for token, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]
        for side, found in sides.items()
    }
