"""What heads attend to, and why: patterns, the queries and keys behind them, and what a head writes.

T tokens, L layers, H heads, D head size, C width.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sayso.lens.forward import blocks_of
from sayso.lens.heads import head_scores
from sayso.lens.matrices import matrix
from sayso.lens.positions import position_kinds, rotary_dials
from sayso.model.attention import Attention
from sayso.xray.pack import Panel
from sayso.xray.written import extremes, frozen, pushed

if TYPE_CHECKING:
    from sayso.xray.view import View

SCORES = ("previous", "own", "first", "duplicate", "induction", "entropy", "distance")


def heads_panel(view: "View") -> Panel:
    """Return the scores of every head on this row, [L, H] each; NaN where no position counts."""
    scores = head_scores(view.network, view.ids)
    return Panel({"scores": list(SCORES)}, {name: getattr(scores, name) for name in SCORES})


def head_panel(view: "View", layer: int, head: int) -> Panel:
    """Return how a head of a layer attends.

    Arrays: pattern [T, T], q and k [T, D] as they are multiplied, value_norms [T]: the length of what the head writes
    for each token at attention 1; for a rotary layer frequencies [D / 2], by which q and k turn with each token.
    """
    layer, head = view.layer(layer), view.head(head)
    config, block = view.network.config, list(blocks_of(view.network))[layer]
    group = head // (config.heads // config.kv_heads)
    found = view.attention(layer)
    q, k = (found[part][0] for part in "qk")
    with torch.no_grad():
        if position_kinds(view.network)[layer] != "rotary":
            q = _normed(block.attention, block.attention.query_norm, q)
            k = _normed(block.attention, block.attention.key_norm, k)
        norms = (found["v"][0, :, group] @ _out(view, layer, head).T).norm(dim=-1)
    meta = {
        "layer": layer,
        "head": head,
        "kv_head": group,
        "scale": config.head_size**-0.5,
        "cap": config.attention_cap,
        "window": config.layer_windows[layer],
    }
    pattern = found["pattern"][0, head].float()
    arrays = {"pattern": pattern, "q": q[:, head], "k": k[:, group], "value_norms": norms}
    if position_kinds(view.network)[layer] == "rotary":
        arrays["frequencies"] = rotary_dials(view.network, layer).frequencies
    return Panel(meta, arrays)


def written_panel(view: "View", layer: int, head: int, position: int) -> Panel:
    """Return the tokens that what a head writes at a position promotes and suppresses the most."""
    layer, head, position = view.layer(layer), view.head(head), view.position(position)
    return Panel({"layer": layer, "head": head, **extremes(view, view.written(layer, position)[head])})


def written_by_heads(view: "View", layer: int, position: int) -> Tensor:
    """Return what each head of a layer adds to the logits at a position by what it writes there, [H, V]."""
    found, block = view.attention(layer), list(blocks_of(view.network))[layer]
    config = view.network.config
    with torch.no_grad():
        out = matrix(block.attention.out).unflatten(1, (config.heads, config.head_size))
        writes = torch.einsum("hd,chd->hc", found["z"][0, position], out)
        if "post_scale" in found:
            writes = frozen(block.attention_post_norm, writes, found["post_scale"][0, position])
    return pushed(view, position, writes)


def attention_of(view: "View", layer: int) -> dict[str, Tensor]:
    """Return q, k (as rotated), v, pattern and z of a layer, and the scale of the norm after it, if there is one."""
    turned = "rot_" if position_kinds(view.network)[layer] == "rotary" else ""
    names = {part: f"blocks.{layer}.attn.hook_{part}" for part in ("v", "pattern", "z")}
    names |= {part: f"blocks.{layer}.attn.hook_{turned}{part}" for part in "qk"}
    if view.network.config.norm_place in ("post", "both"):
        names["post_scale"] = f"blocks.{layer}.ln1_post.hook_scale"
    found = view.trace(*names.values())
    return {part: found[name] for part, name in names.items()}


def _out(view: "View", layer: int, head: int) -> Tensor:
    """Return the columns [C, D] of a layer's output matrix that a head has."""
    config, block = view.network.config, list(blocks_of(view.network))[layer]
    return matrix(block.attention.out).unflatten(1, (config.heads, config.head_size))[:, head]


def _normed(attention: Attention, norm: nn.Module, x: Tensor) -> Tensor:
    """Return queries or keys [T, H, D] with the norm of the config, as layers without rotation multiply them."""
    y: Tensor = norm(x.flatten(1)).view(x.shape) if attention.norm_whole else norm(x)
    return y
