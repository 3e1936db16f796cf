"""Attention weights of every head of one sequence, and how clear a head's pattern is.

T time, L layers, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sayso.lens.tracing import trace
from sayso.model import Transformer


def attention_weights(model: Transformer, ids: Sequence[int]) -> Tensor:
    """Return the weights [L, H, T, T] of one sequence: row t is position t's distribution over 0..t, with sum 1."""
    found = trace(model, list(ids), "blocks.*.attn.hook_pattern")
    return torch.stack([found[name][0] for name in found]).float().cpu()


def pattern(weights: Tensor) -> Tensor:
    """Return how clear each head's pattern is, [L, H] in [0, 1], for weights [L, H, T, T].

    It is the mean over positions of the largest weight, excluding the weights on the first position (the attention
    sink of idle heads, Xiao et al. 2023) and on the position itself.
    """
    time = weights.shape[-1]
    rows = torch.arange(time)
    useful = weights.clone()
    useful[..., 0] = 0
    useful[..., rows, rows] = 0
    return useful.amax(dim=-1)[..., 2:].mean(dim=-1) if time > 2 else torch.zeros(weights.shape[:2])
