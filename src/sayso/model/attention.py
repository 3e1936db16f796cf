"""Attention: each position takes from earlier positions of its own document what it asks for.

    out = softmax(q k^T / sqrt(D) + mask) v        (Vaswani et al. 2017)

with an RMS norm on every query and key head before the turn (QK-norm, Henry et al. 2020, as Qwen3 places it).
B batch, T time, S keys seen, C width, H heads, K key-value heads, D head size.
"""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from sayso.model.config import ModelConfig
from sayso.model.linear import Linear
from sayso.model.norm import RMSNorm
from sayso.model.positions import rotate
from sayso.model.segments import Segments

Angles = tuple[Tensor, Tensor]  # cos and sin, [B or 1, T, 1, D]
Mask = Tensor | Segments | None


class KeyValueCache(Protocol):
    """What attention asks of a cache: to keep a layer's new keys and values and give all that are to be seen."""

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take k, v [B, K, T, D] of the new positions; return k, v [B, K, S, D] of all."""
        ...

    def recall(self, ids: Tensor, reach: int) -> Tensor:
        """Take the new ids [B, T]; return them after the `reach` ids before each row's first, [B, reach + T]."""
        ...


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and QK-norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, size = config.width, config.head_size
        self.heads, self.kv_heads, self.size = config.heads, config.kv_heads, size
        self.query = Linear(width, config.heads * size)
        self.key = Linear(width, config.kv_heads * size)
        self.value = Linear(width, config.kv_heads * size)
        self.out = Linear(config.heads * size, width)
        self.query_norm = RMSNorm(size, config.norm_eps)
        self.key_norm = RMSNorm(size, config.norm_eps)

    def project(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """Return q [B, T, H, D], k and v [B, T, K, D] of x [B, T, C], normed and turned."""
        cos, sin = angles
        q = self.query_norm(self.query(x).unflatten(-1, (self.heads, self.size)))
        k = self.key_norm(self.key(x).unflatten(-1, (self.kv_heads, self.size)))
        v = self.value(x).unflatten(-1, (self.kv_heads, self.size))
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def forward(
        self, x: Tensor, angles: Angles, mask: Mask, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """Return [B, T, C] for x [B, T, C]; `mask` is bool [B, 1, T, S], `Segments`, or None for plain causal."""
        q, k, v = self.project(x, angles)
        if isinstance(mask, Segments):
            return self.out(mask.attend(q, k, v).flatten(2))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.update(layer, k, v)
        grouped = self.kv_heads != self.heads
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped)
        return self.out(mixed.transpose(1, 2).flatten(2))
