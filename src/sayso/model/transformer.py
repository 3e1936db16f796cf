"""The Transformer: embed, then blocks that attend and feed forward on a residual stream, then logits.

Token ids [B, T] enter, logits [B, T, V] leave. Pre-norm with RMS norms (Zhang & Sennrich 2019). Nothing here knows of
training, files, parallelism or adapters: those are applied from outside.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sayso.model.activation import relu2
from sayso.model.attention import Angles, Attention, KeyValueCache, Mask
from sayso.model.config import ModelConfig
from sayso.model.linear import Linear
from sayso.model.ngrams import NGramEmbedding
from sayso.model.norm import RMSNorm
from sayso.model.positions import rotary_angles


class FeedForward(nn.Module):
    """The position-wise part: down(silu(gate x) * up x) for swiglu, down(relu(up x)^2) for relu2."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.mlp_width) if config.mlp == "swiglu" else None
        self.up = Linear(config.width, config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T, C] for x [B, T, C]."""
        if self.gate is None:
            return self.down(relu2(self.up(x)))
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, angles: Angles, mask: Mask, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """Return [B, T, C] for x [B, T, C]."""
        x = x + self.attention(self.attention_norm(x), angles, mask, cache, layer)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """A decoder-only language model of the shape its config says; weights are random until trained or loaded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        """Whether the backward pass computes a block's activations again to spare memory (Chen et al. 2016)."""
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.ngrams = NGramEmbedding(config) if config.ngrams else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.unembed = Linear(config.width, config.vocab_size)
        if config.tie_embeddings:
            self.unembed.weight = self.embed.weight

    def initialise(self, generator: torch.Generator | None = None) -> "Transformer":
        """Draw fresh weights and return self.

        Matrices that read the stream are uniform with standard deviation 1/sqrt(C); matrices that write to it start
        at zero, so that every block is first the identity (Zhang et al. 2019, Fixup; nanochat), and so do n-grams. The
        head starts small, so that the first loss is ln V.
        """
        bound = (3 / self.config.width) ** 0.5  # U(-a, a) has standard deviation a / sqrt(3)
        for name, weight in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(weight)
            elif name.endswith(("out.weight", "down.weight")) or name.startswith("ngrams."):
                nn.init.zeros_(weight)
            elif name == "embed.weight":
                nn.init.normal_(weight, std=0.02 if self.config.tie_embeddings else 1.0, generator=generator)
            elif name == "unembed.weight":
                nn.init.normal_(weight, std=0.001, generator=generator)
            else:
                nn.init.uniform_(weight, -bound, bound, generator=generator)
        return self

    def hidden(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Return the normed residual stream [B, T, C] after the last block, for ids [B, T].

        `positions` [B, T] are 0..T-1 when not given; `mask` is bool [B, 1, T, S], True where a key may be seen, or
        `Segments` for packed documents, or None for causal. With a cache the caller gives positions and mask, because
        only the caller knows what the cache holds.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        cos, sin = rotary_angles(positions, self.config.head_size, self.config.rope_theta)
        angles = cos[:, :, None], sin[:, :, None]  # [B or 1, T, 1, D]: the same for every head
        x = self.embed(ids)
        if self.ngrams is not None:
            reach = self.ngrams.reach
            x = x + self.ngrams(F.pad(ids, (reach, 0)) if cache is None else cache.recall(ids, reach), positions)
        for layer, block in enumerate(self.blocks):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, angles, mask, cache, layer, use_reentrant=False)
            else:
                x = block(x, angles, mask, cache, layer)
        return self.norm(x)

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] for hidden states [..., C]."""
        return self.unembed(hidden)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Return logits [B, T, V] for ids [B, T]; arguments as in `hidden`."""
        return self.head(self.hidden(ids, positions=positions, mask=mask, cache=cache))
