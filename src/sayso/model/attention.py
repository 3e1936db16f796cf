"""The attention layer: projections, QK-norm, rotary positions and attention.

Queries, keys and values are projections of the residual stream. Queries and keys are normalized if the config says so
(QK-norm, Henry et al. 2020: each head as in Qwen3, or the whole projection as in OLMo 2), then rotated by position.
B batch, T time, S visible keys, C width, H heads, K key-value heads, D head size.
"""

from typing import Protocol

from torch import Tensor, nn

from sayso.model.attend import attend
from sayso.model.config import ModelConfig
from sayso.model.linear import Linear
from sayso.model.norm import make_norm
from sayso.model.positions import rotate
from sayso.model.segments import Blocks

Angles = tuple[Tensor, Tensor] | None  # cos and sin, [B or 1, T, 1, D]; None in a layer without rotary positions
Mask = Tensor | Blocks | None


class KeyValueCache(Protocol):
    """Interface of a KV cache: store a layer's new keys and values, and return all that are visible.

    The result is indexed by position: column s of a row is the token at position s of that row.
    """

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [B, K, T, D] of the new positions; return k, v [B, K, S, D] of all positions."""
        ...

    def recall(self, ids: Tensor, reach: int) -> Tensor:
        """Return the new ids [B, T] with the `reach` ids that precede them in each row prepended, [B, reach + T]."""
        ...


class Attention(nn.Module):
    """Grouped-query attention."""

    def __init__(self, config: ModelConfig, window: int = 0) -> None:
        super().__init__()
        width, size = config.width, config.head_size
        self.heads, self.kv_heads, self.size = config.heads, config.kv_heads, size
        self.window, self.cap, self.norm_whole = window, config.attention_cap, config.qk_norm == "whole"
        bias = "qkv" in config.biases
        self.query = Linear(width, config.heads * size, bias=bias)
        self.key = Linear(width, config.kv_heads * size, bias=bias)
        self.value = Linear(width, config.kv_heads * size, bias=bias)
        self.out = Linear(config.heads * size, width, bias="out" in config.biases)
        self.query_norm, self.key_norm = (
            make_norm(config, size * (heads if self.norm_whole else 1)) if config.qk_norm != "none" else nn.Identity()
            for heads in (config.heads, config.kv_heads)
        )

    def project(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor, Tensor]:
        """Return q [B, T, H, D], k and v [B, T, K, D] for x [B, T, C]; q and k are normalized and rotated."""
        q, k = self.query(x), self.key(x)
        if self.norm_whole:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = q.unflatten(-1, (self.heads, self.size)), k.unflatten(-1, (self.kv_heads, self.size))
        if not self.norm_whole:
            q, k = self.query_norm(q), self.key_norm(k)
        v = self.value(x).unflatten(-1, (self.kv_heads, self.size))
        return (q, k, v) if angles is None else (rotate(q, *angles), rotate(k, *angles), v)

    def forward(
        self, x: Tensor, angles: Angles, mask: Mask, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """Return [B, T, C] for x [B, T, C].

        `mask` is bool [B, 1, T, S], already limited to the layer's window, or `Blocks`, or None for plain causal.
        """
        q, k, v = self.project(x, angles)
        if isinstance(mask, Blocks):
            return self.out(mask.attend(q, k, v, self.window, self.cap).flatten(2))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.update(layer, k, v)
        return self.out(attend(q, k, v, mask, self.cap).transpose(1, 2).flatten(2))
