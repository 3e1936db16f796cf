"""An explicit forward pass that shows its activations by name: takes a model and ids, returns logits.

It calls the model's own layers, so adapters and quantized weights need nothing special, and takes a fused operation of
the fast pass apart only if one of its inner activations is wanted.
B batch, T time, C width, H heads, K key-value heads, D head size, V vocabulary.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sayso.lens.matrices import matrix
from sayso.model import Transformer
from sayso.model.attend import attend, causal, everywhere, windowed
from sayso.model.attention import Angles, Attention
from sayso.model.norm import RMSNorm
from sayso.model.positions import rotate
from sayso.model.score import score_head
from sayso.model.transformer import Block, FeedForward


@dataclass(frozen=True)
class Probe:
    """Shows the activations of one part of a model; `see(name, x)` returns what the pass continues with."""

    wanted: Collection[str]
    """Names of the activations to show."""
    see: Callable[[str, Tensor], Tensor]
    prefix: str = ""
    """What precedes the names of this part, such as `blocks.3.attn.`."""

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """Show an activation if it is wanted, and return it or its replacement."""
        return self.see(self.prefix + name, x) if self.wants(name) else x

    def wants(self, *names: str) -> bool:
        """Whether one of these activations of the part is wanted."""
        return any(self.prefix + name in self.wanted for name in names)

    def inside(self, part: str) -> "Probe":
        """Return the probe of a part of the part."""
        return replace(self, prefix=f"{self.prefix}{part}.")


def forward(model: Transformer, ids: Tensor, probe: Probe) -> Tensor:
    """Return the logits [B, T, V] for ids [B, T]."""
    return read(model, through(model, embedded(model, ids, probe), probe), probe)


def embedded(model: Transformer, ids: Tensor, probe: Probe) -> Tensor:
    """Return the input of the residual stream [B, T, C] for ids [B, T]."""
    config, positions = model.config, torch.arange(ids.shape[1], device=ids.device)[None]
    x = model.embed(ids)
    x = tokens = probe("hook_embed", x * config.embed_scale if config.embed_scale != 1 else x)
    if model.shift is not None:
        padded = F.pad(tokens, (0, 0, config.reach, 0))
        x = x + probe("hook_shift_embed", model.shift(padded, positions))
    if model.positions is not None:
        x = x + probe("hook_pos_embed", model.positions(positions).expand_as(x))
    if model.ngrams is not None:
        x = x + probe("hook_ngram_embed", model.ngrams(F.pad(ids, (config.reach, 0)), positions))
    return x


def through(
    model: Transformer,
    x: Tensor,
    probe: Probe,
    first: int = 0,
    last: int | None = None,
    visible: Tensor | None = None,
) -> Tensor:
    """Return the residual stream [B, T, C] after block `last`, by default the last one, for that before block `first`.

    `visible` is bool [T, T], True for the keys that a query may attend to, instead of the causal mask and windows.
    """
    if visible is None and model.looks_ahead:
        visible = everywhere(x.shape[1], x.device)
    positions = torch.arange(x.shape[1], device=x.device)[None]
    angles = model.angles(positions)
    end = model.config.layers if last is None else last + 1
    for layer, block in enumerate(blocks_of(model)):
        if first <= layer < end:
            mask = windowed(None, model.config.layer_windows[layer], positions) if visible is None else visible
            x = _block(block, x, angles[layer], mask, probe.inside(f"blocks.{layer}"))
    return x


def read(model: Transformer, x: Tensor, probe: Probe) -> Tensor:
    """Return the logits [..., V] for the residual stream [..., C] after the last block, or scores [...]."""
    hidden = normed(model.norm, x, probe.inside("ln_final"))
    if head := score_head(model):
        return probe("score", head(hidden)[..., 0].float())
    return probe("logits", model.head(hidden))


def blocks_of(model: Transformer) -> Iterator[Block]:
    """Yield the blocks of a model."""
    for block in model.blocks:
        assert isinstance(block, Block)
        yield block


def normed(norm: nn.Module, x: Tensor, probe: Probe) -> Tensor:
    """Return norm(x), [..., C].

    As in TransformerLens 4, `hook_scale` [..., 1] is what x is divided by, and `hook_normalized` [..., C] is the result
    without gain and bias. Without a norm the scale is 1.
    """
    if not probe.wants("hook_scale", "hook_normalized"):
        return norm(x)
    if isinstance(norm, nn.Identity):
        return probe("hook_normalized", x / probe("hook_scale", torch.ones_like(x[..., :1])))
    assert isinstance(norm, RMSNorm | nn.LayerNorm)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    centered = wide if isinstance(norm, RMSNorm) else wide - wide.mean(-1, keepdim=True)
    scale = probe("hook_scale", (centered.square().mean(-1, keepdim=True) + norm.eps).sqrt())
    y = probe("hook_normalized", centered / scale) * norm.weight
    return (y if isinstance(norm, RMSNorm) else y + norm.bias).to(x.dtype)


def _block(block: Block, x: Tensor, angles: Angles, mask: Tensor | None, probe: Probe) -> Tensor:
    x = probe("hook_resid_pre", x)
    y = normed(block.attention_norm, x, probe.inside("ln1"))
    y = _attention(block.attention, y, angles, mask, probe.inside("attn"))
    x = x + probe("hook_attn_out", normed(block.attention_post_norm, y, probe.inside("ln1_post")))
    x = probe("hook_resid_mid", x)
    y = _mlp(block.mlp, normed(block.mlp_norm, x, probe.inside("ln2")), probe.inside("mlp"))
    x = x + probe("hook_mlp_out", normed(block.mlp_post_norm, y, probe.inside("ln2_post")))
    return probe("hook_resid_post", x)


def _attention(attention: Attention, x: Tensor, angles: Angles, mask: Tensor | None, probe: Probe) -> Tensor:
    layers = {"q": attention.query, "k": attention.key, "v": attention.value}
    q, k, v = (probe(f"hook_{name}", layer(x).unflatten(-1, (-1, attention.size))) for name, layer in layers.items())
    q = _head_norm(attention, attention.query_norm, q, probe.inside("q_norm"))
    k = _head_norm(attention, attention.key_norm, k, probe.inside("k_norm"))
    if angles is not None:
        q, k = probe("hook_rot_q", rotate(q, *angles)), probe("hook_rot_k", rotate(k, *angles))
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if probe.wants("hook_attn_scores", "hook_pattern"):
        scores = probe("hook_attn_scores", _scores(q, k, mask, attention.cap))
        wide = torch.promote_types(scores.dtype, torch.float32)
        pattern = probe("hook_pattern", scores.softmax(dim=-1, dtype=wide).to(v.dtype))
        z = pattern @ v.repeat_interleave(attention.heads // attention.kv_heads, dim=1)
    else:
        z = attend(q, k, v, mask, attention.cap)
    z = probe("hook_z", z.transpose(1, 2))
    if probe.wants("hook_result"):
        weight = matrix(attention.out).unflatten(1, (attention.heads, attention.size))
        result = torch.einsum("bthd,chd->bthc", z, weight)
        seen = probe("hook_result", result)
        if seen is not result:
            return seen.sum(2) if attention.out.bias is None else seen.sum(2) + attention.out.bias
    return attention.out(z.flatten(2))


def _head_norm(attention: Attention, norm: nn.Module, x: Tensor, probe: Probe) -> Tensor:
    """Return queries or keys [B, T, H, D] with the norm of the config: over each head or over all of them."""
    return normed(norm, x.flatten(2), probe).view(x.shape) if attention.norm_whole else normed(norm, x, probe)


def _scores(q: Tensor, k: Tensor, mask: Tensor | None, cap: float) -> Tensor:
    """Return the scaled attention scores [B, H, T, T], -inf where a key is not visible."""
    q = q * q.shape[-1] ** -0.5  # before the product, which is larger
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).transpose(-2, -1)
    scores = cap * torch.tanh(scores / cap) if cap else scores
    visible = causal(q.shape[-2], q.device) if mask is None else mask
    return scores.masked_fill_(~visible, float("-inf"))


def _mlp(mlp: FeedForward, x: Tensor, probe: Probe) -> Tensor:
    if mlp.gate is None:
        post = mlp.activation(probe("hook_pre", mlp.up(x)))
    else:
        post = mlp.activation(probe("hook_pre", mlp.gate(x))) * probe("hook_pre_linear", mlp.up(x))
    return mlp.down(probe("hook_post", post))
