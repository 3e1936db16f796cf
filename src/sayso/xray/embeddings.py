"""What a token is before any block: its vector, the tokens whose vectors are near, and what tells its position.

C width, D head size.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.lens.matrices import matrix
from sayso.lens.positions import position_kinds, rotary_dials
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

NEAR = 10


def embedding_panel(view: "View", position: int) -> Panel:
    """Return the embedding of the token at a position, and the nearest rows of the input and the output table.

    Array: vector [C], as it enters the first block, with what positions and n-grams add.
    """
    position = view.position(position)
    token = int(view.ids[0, position])
    with torch.no_grad():
        table = view.network.embed.weight
        tied = view.network.config.tie_embeddings
        output = table if tied else matrix(view.network.unembed)
        meta = {
            "token": [token, view.text(token)],
            "norm": table[token].norm().item(),
            "mean_norm": table.norm(dim=-1).mean().item(),
            "near": _near(view, table, table[token], token),
            "writes": [] if tied else _near(view, output, table[token], None),
        }
    return Panel(meta, {"vector": view.streams[0, position]})


def _near(view: "View", table: Tensor, vector: Tensor, own: int | None) -> list[list[Any]]:
    """Return the id, text and cosine of the tokens whose vectors have the most similar direction."""
    cosines = F.normalize(table.float(), dim=-1) @ F.normalize(vector.float(), dim=-1)
    if own is not None:
        cosines[own] = -2.0
    best = cosines.topk(min(NEAR, len(cosines) - 1))
    return [
        [token, view.text(token), value]
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def stream_panel(view: "View", layer: int, position: int) -> Panel:
    """Return what a layer does to the residual stream at a position.

    Arrays, [C] each: before, attention and mlp, what these add, and after, their sum.
    """
    layer, position = view.layer(layer), view.position(position)
    names = {"attention": f"blocks.{layer}.hook_attn_out", "mlp": f"blocks.{layer}.hook_mlp_out"}
    found = view.trace(*names.values())
    added = {part: found[name][0, position] for part, name in names.items()}
    before, after = (view.streams[layer + i, position] for i in range(2))
    return Panel({"layer": layer}, {"before": before, **added, "after": after})


def positions_panel(view: "View") -> Panel:
    """Return what tells each block the positions; for rotary ones, the wavelength of each dial in tokens, [D / 2]."""
    kinds = position_kinds(view.network)
    if "rotary" not in kinds:
        return Panel({"kinds": list(kinds)})
    layer = kinds.index("rotary")
    return Panel({"kinds": list(kinds), "layer": layer}, {"wavelengths": rotary_dials(view.network, layer).wavelengths})
