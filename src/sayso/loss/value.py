"""The loss of a value model, which predicts the return at each token.

    loss = 1/2 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)        (Schulman et al. 2017, as in OpenAI's code)

The clip keeps a value near the one that the advantages were computed with. B rows, T time.
"""

import torch
from torch import Tensor


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return the loss of each value, of the shape of all three; `clip` 0 = off."""
    losses = (values - returns).square()
    if clip:
        losses = torch.maximum(losses, (old + (values - old).clamp(-clip, clip) - returns).square())
    return losses / 2


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - var(returns - values) / var(returns) over the masked positions: 1 is perfect, 0 as good as a constant.

    NaN where all returns are equal.
    """
    left, whole = (returns - values)[mask].var(correction=0), returns[mask].var(correction=0)
    return float(1 - left / whole) if whole > 0 else float("nan")
