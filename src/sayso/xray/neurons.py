"""The neurons of an MLP that speak most for a token at a position, and what each promotes."""

from typing import TYPE_CHECKING

import torch

from sayso.lens.direct import attributed
from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
from sayso.lens.targets import LogitDifference
from sayso.xray.pack import Panel
from sayso.xray.written import extremes, frozen, pushed

if TYPE_CHECKING:
    from sayso.xray.view import View

SHOWN = 10


def neurons_panel(view: "View", layer: int, position: int, target: int, contrast: int | None = None) -> Panel:
    """Return the neurons of a layer that add most to the logit of `target` at a position, minus that of `contrast`.

    Array: all [M], what each neuron adds.
    """
    layer, position = view.layer(layer), view.position(position)
    network, name = view.network, f"blocks.{layer}"
    found, block = view.read(position), list(blocks_of(network))[layer]
    tokens = LogitDifference(view.token(target), None if contrast is None else view.token(contrast))
    parts = attributed(network, found, tokens.signs(1, network.config.vocab_size)).neurons[0, layer]
    chosen = parts.abs().topk(min(SHOWN, len(parts))).indices
    gated = block.mlp.gate is not None
    names = [f"{name}.mlp.hook_pre", *([f"{name}.mlp.hook_pre_linear"] if gated else []), f"{name}.mlp.hook_post"]
    seen = view.trace(*names)
    with torch.no_grad():
        vectors = matrix(block.mlp.down)[:, chosen].T * seen[names[-1]][0, position, chosen][:, None]
        if network.config.norm_place in ("post", "both"):
            vectors = frozen(block.mlp_post_norm, vectors, found[f"{name}.ln2_post.hook_scale"][0, -1])
    logits = pushed(view, position, vectors)
    neurons = [
        {
            "neuron": neuron,
            "adds": parts[neuron].item(),
            "pre": seen[names[0]][0, position, neuron].item(),
            "up": seen[names[1]][0, position, neuron].item() if gated else None,
            "post": seen[names[-1]][0, position, neuron].item(),
            **extremes(view, logits[row]),
        }
        for row, neuron in enumerate(chosen.tolist())
    ]
    return Panel({"layer": layer, "mlp": network.config.mlp, "neurons": neurons}, {"all": parts})
