"""What heads attend to, and why: patterns, the queries and keys behind them, and what a head writes.

T tokens, L layers, H heads, D head size, C width.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sayso.lens.forward import blocks_of
from sayso.lens.heads import head_scores
from sayso.lens.matrices import matrix
from sayso.lens.positions import position_kinds
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


def head_panel(view: "View", layer: int, head: int, position: int) -> Panel:
    """Return how a head of a layer attends, and what it writes at a position.

    Arrays: pattern [T, T], q and k [T, D] as they are multiplied, value_norms [T]: the length of what the head writes
    for each token at attention 1.
    """
    layer, head, position = view.layer(layer), view.head(head), view.position(position)
    config, block = view.network.config, list(blocks_of(view.network))[layer]
    group = head // (config.heads // config.kv_heads)
    turned = "rot_" if position_kinds(view.network)[layer] == "rotary" else ""
    names = [f"blocks.{layer}.attn.hook_{part}" for part in (f"{turned}q", f"{turned}k", "v", "pattern", "z")]
    after = [f"blocks.{layer}.ln1_post.hook_scale"] if config.norm_place in ("post", "both") else []
    found = view.trace(*names, *after)
    q, k, v, pattern, z = (found[name][0] for name in names)
    with torch.no_grad():
        if not turned:
            q = _normed(block.attention, block.attention.query_norm, q)
            k = _normed(block.attention, block.attention.key_norm, k)
        out = matrix(block.attention.out).unflatten(1, (config.heads, config.head_size))[:, head]
        writes = z[None, position, head] @ out.T
        if after:
            writes = frozen(block.attention_post_norm, writes, found[after[0]][0, position])
        meta = {
            "layer": layer,
            "head": head,
            "kv_head": group,
            "scale": config.head_size**-0.5,
            "cap": config.attention_cap,
            "window": config.layer_windows[layer],
            **extremes(view, pushed(view, position, writes)[0]),
        }
        norms = (v[:, group] @ out.T).norm(dim=-1)
    return Panel(meta, {"pattern": pattern[head].float(), "q": q[:, head], "k": k[:, group], "value_norms": norms})


def _normed(attention: Attention, norm: nn.Module, x: Tensor) -> Tensor:
    """Return queries or keys [T, H, D] with the norm of the config, as layers without rotation multiply them."""
    y: Tensor = norm(x.flatten(1)).view(x.shape) if attention.norm_whole else norm(x)
    return y
