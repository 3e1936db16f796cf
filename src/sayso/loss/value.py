"""The loss of a value model, which predicts the return after each token.

    loss = 1/2 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)        (Schulman et al. 2017, as in OpenAI's code)

The clip keeps values near those that the advantages were computed with. B rows, T time.
"""

import torch
from torch import Tensor


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return the loss of each value; all tensors have the same shape. A `clip` of 0 disables clipping."""
    losses = (values - returns).square()
    if clip:
        losses = torch.maximum(losses, (old + (values - old).clamp(-clip, clip) - returns).square())
    return losses / 2


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - var(returns - values) / var(returns) where `mask` is true; NaN if all returns are equal.

    1 means perfect values, 0 that a constant would be as good.
    """
    residual, total = (returns - values)[mask].var(correction=0), returns[mask].var(correction=0)
    return float(1 - residual / total) if total > 0 else float("nan")
