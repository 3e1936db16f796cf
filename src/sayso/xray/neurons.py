"""The neurons of an MLP that speak most for a token at a position, and what each promotes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
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
    signs = [(view.token(target), 1), *([(view.token(contrast), -1)] if contrast is not None else [])]
    parts = view.attribution(position, *signs).neurons[0, layer]
    chosen = parts.abs().topk(min(SHOWN, len(parts))).indices
    pre, *up, post = view.neurons(layer)
    with torch.no_grad():
        vectors = matrix(block.mlp.down)[:, chosen].T * post[position, chosen][:, None]
        if network.config.norm_place in ("post", "both"):
            vectors = frozen(block.mlp_post_norm, vectors, found[f"{name}.ln2_post.hook_scale"][0, -1])
    logits = pushed(view, position, vectors)
    neurons = [
        {
            "neuron": neuron,
            "adds": parts[neuron].item(),
            "pre": pre[position, neuron].item(),
            "up": up[0][position, neuron].item() if up else None,
            "post": post[position, neuron].item(),
            **extremes(view, logits[row]),
        }
        for row, neuron in enumerate(chosen.tolist())
    ]
    return Panel({"layer": layer, "mlp": network.config.mlp, "neurons": neurons}, {"all": parts})


def neurons_of(view: "View", layer: int) -> list[Tensor]:
    """Return the activations of the neurons of a layer [T, M]: before the nonlinearity, up if gated, and after it."""
    gated = list(blocks_of(view.network))[layer].mlp.gate is not None
    parts = ("hook_pre", *(("hook_pre_linear",) if gated else ()), "hook_post")
    names = [f"blocks.{layer}.mlp.{part}" for part in parts]
    found = view.trace(*names)
    return [found[name][0] for name in names]
