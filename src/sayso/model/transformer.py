"""The Transformer: embedding, then blocks of attention and MLP on a residual stream, then logits.

Takes token ids [B, T], returns logits [B, T, V]. The config sets norms, positions and windows. Training, files,
parallelism and adapters are applied from outside.
"""

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sayso.model.activation import activation
from sayso.model.attend import everywhere, windowed
from sayso.model.attention import Angles, Attention, KeyValueCache, Mask
from sayso.model.config import GATED, ModelConfig
from sayso.model.embedding import embedding
from sayso.model.linear import Linear
from sayso.model.ngrams import NGramEmbedding
from sayso.model.norm import make_norm
from sayso.model.positions import rotary_angles
from sayso.model.segments import Blocks
from sayso.model.shift import TokenShift


class FeedForward(nn.Module):
    """Feed-forward layer: down(f(gate x) * up x) if gated, else down(f(up x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = "mlp" in config.biases
        self.activation = activation(config.mlp)
        self.gate = Linear(config.width, config.mlp_width, bias=bias) if config.mlp in GATED else None
        self.up = Linear(config.width, config.mlp_width, bias=bias)
        self.down = Linear(config.mlp_width, config.width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T, C] for x [B, T, C]."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + norm(attention(norm x)), then x + norm(mlp(norm x)), with norms before, after or both."""

    def __init__(self, config: ModelConfig, window: int = 0) -> None:
        super().__init__()

        def norm(*places: str) -> nn.Module:
            return make_norm(config, config.width) if config.norm_place in places else nn.Identity()

        self.attention_norm = norm("pre", "both")
        self.attention = Attention(config, window)
        self.attention_post_norm = norm("post", "both")
        self.mlp_norm = norm("pre", "both")
        self.mlp = FeedForward(config)
        self.mlp_post_norm = norm("post", "both")

    def forward(
        self, x: Tensor, angles: Angles, mask: Mask, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """Return [B, T, C] for x [B, T, C]."""
        x = x + self.attention_post_norm(self.attention(self.attention_norm(x), angles, mask, cache, layer))
        return x + self.mlp_post_norm(self.mlp(self.mlp_norm(x)))


class Transformer(nn.Module):
    """A decoder-only language model of the shape in its config; weights are random until trained or loaded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        """Whether the backward pass recomputes each block's activations to save memory (Chen et al. 2016)."""
        self.looks_ahead = False
        """Whether positions attend to later ones too unless a mask says otherwise, as in some compiled programs."""
        self.embed = embedding(config.vocab_size, config.width)
        self.positions = embedding(config.context, config.width) if config.positions == "learned" else None
        self.ngrams = NGramEmbedding(config) if config.ngrams else None
        self.shift = TokenShift(config) if config.shift else None
        self.blocks = nn.ModuleList(Block(config, window) for window in config.layer_windows)
        self.norm = make_norm(config, config.width)
        self.unembed = Linear(config.width, config.vocab_size)
        if config.tie_embeddings:
            self.unembed.weight = self.embed.weight

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self._floats().device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the residual stream, which may differ from that of quantized weights."""
        return self._floats().dtype

    def _floats(self) -> Tensor:
        return next(x for x in chain(self.parameters(), self.buffers()) if x.is_floating_point())

    def initialize(self, generator: torch.Generator | None = None) -> "Transformer":
        """Draw random weights and return self.

        Matrices that read the residual stream are uniform with standard deviation 1/sqrt(C). Matrices that write to it
        are zero, so that every block starts as the identity (Zhang et al. 2019, Fixup; nanochat); so are n-gram tables,
        the weights of the token shift and biases. The head's weights are small, so that the first loss is ln V.
        """
        bound = (3 / self.config.width) ** 0.5  # U(-a, a) has standard deviation a / sqrt(3)
        for name, weight in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(weight)
            elif name.endswith(("out.weight", "down.weight", "bias")) or name.startswith(("ngrams.", "shift.")):
                nn.init.zeros_(weight)
            elif name == "positions.weight":
                nn.init.normal_(weight, std=0.02, generator=generator)
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
        """Return the normalized residual stream [B, T, C] after the last block, for ids [B, T].

        `positions` [B, T] defaults to 0..T-1. `mask` is bool [B, 1, T, S], True for visible keys, or `Blocks` for
        packed documents, or None for causal. With a cache, pass positions and mask: they depend on its contents.
        """
        if positions is None:
            assert self.positions is None or ids.shape[1] <= self.config.context, "more ids than learned positions"
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embedded(ids, positions, cache)
        angles, masks = self.angles(positions), self._masks(mask, positions, cache)
        for layer, block in enumerate(self.blocks):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, angles[layer], masks[layer], cache, layer, use_reentrant=False)
            else:
                x = block(x, angles[layer], masks[layer], cache, layer)
        return self.norm(x)

    def embedded(self, ids: Tensor, positions: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return the input of the residual stream, [B, T, C], for ids [B, T] at positions [B or 1, T]."""
        reach = self.config.reach
        known = ids if not reach else F.pad(ids, (reach, 0)) if cache is None else cache.recall(ids, reach)
        x = self.embed(known if self.shift is not None else ids)
        if self.config.embed_scale != 1:
            x = x * self.config.embed_scale
        if self.shift is not None:
            x = x[:, reach:] + self.shift(x, positions)
        if self.positions is not None:
            x = x + self.positions(positions.clamp_max(self.config.context - 1))  # a cache's padding may exceed it
        if self.ngrams is not None:
            x = x + self.ngrams(known, positions)
        return x

    def angles(self, positions: Tensor) -> list[Angles]:
        """Return the rotary cosines and sines of each layer, [B or 1, T, 1, D]: the same for every head."""
        config, rope = self.config, self.config.rope
        if config.positions != "rotary":
            return [None] * config.layers
        cos, sin = rotary_angles(positions, config.head_size, config.rope_theta, rope)
        angles = local = cos[:, :, None], sin[:, :, None]
        if rope.local_theta:
            cos, sin = rotary_angles(positions, config.head_size, rope.local_theta)
            local = cos[:, :, None], sin[:, :, None]
        return [
            None if layer in rope.nope_layers else local if window else angles
            for layer, window in enumerate(config.layer_windows)
        ]

    def _masks(self, mask: Mask, positions: Tensor, cache: KeyValueCache | None) -> list[Mask]:
        """Return the mask of each layer; `Blocks` apply the windows themselves."""
        config = self.config
        if mask is None and self.looks_ahead:
            mask = everywhere(positions.shape[1], positions.device)[None, None]
        if not config.windows or isinstance(mask, Blocks):
            return [mask] * config.layers
        columns = positions if cache is not None else torch.arange(positions.shape[1], device=positions.device)[None]
        masks = {window: windowed(mask, window, columns) for window in set(config.windows)}
        return [masks[window] for window in config.layer_windows]

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] for hidden states [..., C]."""
        logits: Tensor = self.unembed(hidden)
        cap = self.config.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits

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
