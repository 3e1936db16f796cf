"""Attention weights of every head: token ids -> the weights that the model used.

The model's fused attention does not store them, so a hook captures each layer's input and the weights are recomputed
from the layer's own queries and keys, mask and scale.

T time, L layers, H heads, D head size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sayso.model import Transformer
from sayso.model.attend import softmax_scores
from sayso.model.attention import Attention


def attention_weights(model: Transformer, ids: Sequence[int]) -> Tensor:
    """Return the weights [L, H, T, T] of one sequence: row t is position t's distribution over 0..t, with sum 1."""
    found: list[Tensor] = []

    def capture(attention: Attention, inputs: tuple[Any, ...]) -> None:
        x, angles, mask = inputs[:3]
        q, k = (part.transpose(1, 2) for part in attention.project(x, angles)[:2])
        found.append(softmax_scores(q, k, mask, attention.cap)[0])

    with torch.inference_mode(), hooked(model, capture):
        model.hidden(torch.tensor([list(ids)], device=next(model.parameters()).device))
    return torch.stack(found).float().cpu()


@contextmanager
def hooked(model: Transformer, call: Callable[[Attention, tuple[Any, ...]], None]) -> Iterator[None]:
    """Run `call(attention, its inputs)` before each layer's attention while the context is active."""
    layers = [layer for layer in model.modules() if isinstance(layer, Attention)]
    handles = [layer.register_forward_pre_hook(call) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
