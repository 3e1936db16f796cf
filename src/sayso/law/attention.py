"""Attention by hand: one head rebuilt in plain formulas, from what its layer reads to what it writes.

    q = norm(x) Wq,  k = norm(x) Wk,  v = norm(x) Wv        of this head
    s = q . k / sqrt(D),  a = softmax(s) over the past,  z = a v,  written = z Wo

Takes a model and ids, returns every step in numbers, and the difference from what the model itself computes; also as a
Python script that does the same. T tokens, C width, D head size (Vaswani et al. 2017).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
from sayso.lens.positions import position_kinds, rotary_dials
from sayso.lens.tracing import Ids, rows_of, trace
from sayso.model import Transformer
from sayso.model.norm import RMSNorm


@dataclass(frozen=True)
class HandmadeHead:
    """A head's computation, step by step."""

    x: Tensor
    """What the layer reads: the residual stream, [T, C]; for layer 0, the embeddings."""
    normed: Tensor
    """After the norm before attention, [T, C]."""
    q: Tensor
    """Queries, normalized and rotated as the model does it, [T, D]."""
    k: Tensor
    """Keys, [T, D]."""
    v: Tensor
    """Values, [T, D]."""
    dots: Tensor
    """q . k of each pair of positions, [T, T]."""
    scores: Tensor
    """Scaled and capped, -inf where a position is not seen, [T, T]."""
    weights: Tensor
    """The attention weights, [T, T]."""
    z: Tensor
    """The weighted mean of the values, [T, D]."""
    written: Tensor
    """What the head adds to the output of attention, [T, C], without its bias."""
    difference: float
    """Largest absolute difference from the model's own, in weights and in what is written."""


def rebuild_head(model: Transformer, ids: Ids, layer: int, head: int) -> HandmadeHead:
    """Return the computation of one head on one row of ids.

    Raises `UserError` for a layer or head that the model does not have, for several rows, and as `trace` does.
    """
    config, rows = model.config, rows_of(model, ids)
    for what, value, count in (("layer", layer, config.layers), ("head", head, config.heads)):
        if not 0 <= value < count:
            raise UserError(f"--{what} must be from 0 to {count - 1} in this model; got {value}.")
    if len(rows) > 1:
        raise UserError(f"A head is rebuilt on one row of ids; got {len(rows)}.")
    names = [f"blocks.{layer}.{name}" for name in ("hook_resid_pre", "attn.hook_pattern", "attn.hook_result")]
    found = trace(model, rows, names)
    x, own, result = (found[name][0] for name in names)
    block = list(blocks_of(model))[layer]
    attention, size, shared = block.attention, config.head_size, head // (config.heads // config.kv_heads)
    with torch.no_grad():
        normed = norm_by_hand(block.attention_norm, x)
        q, k, v = (
            projected(projection, normed, norm, one, size, whole=attention.norm_whole)
            for projection, norm, one in (
                (attention.query, attention.query_norm, head),
                (attention.key, attention.key_norm, shared),
                (attention.value, nn.Identity(), shared),
            )
        )
        if position_kinds(model)[layer] == "rotary":
            q, k = (rotated(model, layer, y) for y in (q, k))
        dots = q @ k.T
        scores = dots * size**-0.5
        if config.attention_cap:
            scores = config.attention_cap * torch.tanh(scores / config.attention_cap)
        scores = scores.masked_fill(~seen(len(x), config.layer_windows[layer], x.device), float("-inf"))
        raised = torch.exp(scores - scores.amax(-1, keepdim=True))
        weights = raised / raised.sum(-1, keepdim=True)
        z = weights @ v
        written = z @ matrix(attention.out)[:, head * size : (head + 1) * size].T
    difference = max((weights - own[head]).abs().max().item(), (written - result[:, head]).abs().max().item())
    return HandmadeHead(x, normed, q, k, v, dots, scores, weights, z, written, difference)


def norm_by_hand(norm: nn.Module, x: Tensor) -> Tensor:
    """Return x [..., C] divided by its root mean square, or centered and divided by its deviation; times the gain."""
    if isinstance(norm, nn.Identity):
        return x
    assert isinstance(norm, RMSNorm | nn.LayerNorm)
    if isinstance(norm, RMSNorm):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + norm.eps) * norm.weight
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt((centered * centered).mean(-1, keepdim=True) + norm.eps) * norm.weight + norm.bias


def projected(layer: nn.Module, x: Tensor, norm: nn.Module, head: int, size: int, *, whole: bool) -> Tensor:
    """Return the queries, keys or values of a head [T, D]: its rows of the matrix times x, then the norm of heads."""
    weight, bias = matrix(layer), layer.bias if isinstance(layer, nn.Linear) else None
    part = slice(head * size, (head + 1) * size)
    if whole and not isinstance(norm, nn.Identity):  # the norm is over all heads together
        return norm_by_hand(norm, x @ weight.T + (0 if bias is None else bias))[:, part]
    return norm_by_hand(norm, x @ weight[part].T + (0 if bias is None else bias[part]))


def rotated(model: Transformer, layer: int, x: Tensor) -> Tensor:
    """Return queries or keys [T, D] with pair i of dimensions, (i, i + D/2), turned by position * frequency i."""
    angles = torch.arange(len(x), device=x.device)[:, None] * rotary_dials(model, layer).frequencies
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    local = model.config.rope.local_theta and model.config.layer_windows[layer]
    return turned if local else turned * model.config.rope.attention_factor


def seen(length: int, window: int, device: torch.device | None = None) -> Tensor:
    """Return which positions each position sees, bool [T, T]: itself and those before it, within the window."""
    at = torch.arange(length, device=device)
    behind = at[:, None] - at
    return (behind >= 0) & (behind < window) if window else behind >= 0
