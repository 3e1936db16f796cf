"""The circuit of a prediction in a model with few weights: those that carry most, as a graph small enough to draw.

L layers, H heads, M neurons, C width.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sayso.lens.circuits import Circuit, circuit
from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.model import Transformer
    from sayso.xray.view import View

DENSE = 0.25
"""Share of the weights in the blocks that are not zero above which nothing is drawn."""
UNITS, DIMENSIONS, EDGES = 14, 14, 90
"""Heads and neurons, dimensions of the stream, and connections that are drawn at most."""
LEAST = 0.01
"""Flow, as a share of the largest one of its kind, below which a part is not drawn."""
TOKENS, LOGITS = "tokens", "logits"
Edge = tuple[str, str, float | None, float]
"""From, to, the weight (of a head, the length of its weights), and what flows."""


def circuit_panel(view: "View", position: int, target: int, contrast: int | None = None) -> Panel:
    """Return the graph of what flows to the logit of `target` at a position, minus that of `contrast`.

    meta["edges"] is None if too many weights are not zero, or if they are quantized; else it has [from, to, weight,
    flow] of each connection, between "tokens", "logits", dimensions "d3", heads "h0.1" and neurons "n0.7".
    meta["units"] has what each of these heads and neurons brings; meta["flowing"] counts all connections that carry
    something. Array: outputs [C], what each dimension brings to the logits.
    """
    position, target = view.position(position), view.token(target)
    contrast = None if contrast is None else view.token(contrast)
    meta: dict[str, Any] = {"share": view.density, "edges": None}
    if view.density is None or view.density > DENSE:
        return Panel(meta)
    found = circuit(view.network, view.ids, target, contrast, position=position)
    units = _units(found)
    dimensions = _dimensions(found, units)
    edges = [*_edges(view.network, found, units, dimensions, (target, contrast))]
    edges = sorted(edges, key=lambda edge: -abs(edge[3]))[:EDGES]
    least = LEAST * abs(edges[0][3]) if edges else 0.0
    flows = (found.inputs, found.head_reads, found.head_writes, found.neuron_reads, found.neuron_writes, found.outputs)
    meta |= {
        "edges": [edge for edge in edges if abs(edge[3]) > least],
        "units": {name: _writes(found, name).sum().item() for name in units},
        "dimensions": dimensions,
        "flowing": sum(int((flow != 0).sum()) for flow in flows),
        "logit": found.logit.item(),
    }
    return Panel(meta, {"outputs": found.outputs})


def density_of(network: "Transformer") -> float | None:
    """Return the share of the weights in a model's blocks that are not zero; None if they are quantized."""
    weights = [weight for block in blocks_of(network) for weight in block.parameters() if weight.dim() == 2]
    total = sum(weight.numel() for weight in weights)
    return sum(int(torch.count_nonzero(weight)) for weight in weights) / total if total else None


def _units(found: Circuit) -> list[str]:
    """Return the names of the heads and neurons through which most flows."""
    through = {
        f"{kind}{layer}.{number}": flow
        for kind, writes in (("h", found.head_writes), ("n", found.neuron_writes))
        for layer, row in enumerate(writes.abs().sum(-1).tolist())
        for number, flow in enumerate(row)
    }
    return _largest(through, UNITS)


def _dimensions(found: Circuit, units: list[str]) -> list[int]:
    """Return the dimensions of the stream through which most flows, in their order."""
    through = found.inputs.abs() + found.outputs.abs()
    for name in units:
        through = through + _reads(found, name).abs() + _writes(found, name).abs()
    return sorted(map(int, _largest({str(at): flow for at, flow in enumerate(through.tolist())}, DIMENSIONS)))


def _largest(flows: dict[str, float], count: int) -> list[str]:
    order = sorted(flows, key=lambda name: -flows[name])[:count]
    return [name for name in order if flows[name] > LEAST * flows[order[0]]]


def _place(name: str) -> tuple[int, int]:
    layer, number = name[1:].split(".")
    return int(layer), int(number)


def _reads(found: Circuit, name: str) -> Tensor:
    """Return what flows from each dimension into a head or neuron, [C]."""
    return (found.head_reads if name[0] == "h" else found.neuron_reads)[_place(name)]


def _writes(found: Circuit, name: str) -> Tensor:
    """Return what flows from a head or neuron into each dimension, [C]."""
    return (found.head_writes if name[0] == "h" else found.neuron_writes)[_place(name)]


def _edges(
    network: "Transformer", found: Circuit, units: list[str], dimensions: list[int], tokens: tuple[int, int | None]
) -> Iterator[Edge]:
    """Yield the connections of some units and dimensions that carry something."""
    head = matrix(network.unembed)
    reader = head[tokens[0]] - (0 if tokens[1] is None else head[tokens[1]])
    for at in dimensions:
        yield TOKENS, f"d{at}", None, found.inputs[at].item()
        yield f"d{at}", LOGITS, reader[at].item(), found.outputs[at].item()
    for name in units:
        reads, writes = _reads(found, name), _writes(found, name)
        into, out = _weights(network, name)
        for at in dimensions:
            yield f"d{at}", name, into[at].item(), reads[at].item()
            yield name, f"d{at}", out[at].item(), writes[at].item()


def _weights(network: "Transformer", name: str) -> tuple[Tensor, Tensor]:
    """Return the weights from each dimension into a head or neuron, and back, [C] each; lengths for a head."""
    layer, number = _place(name)
    block, config = list(blocks_of(network))[layer], network.config
    if name[0] == "n":
        return matrix(block.mlp.up)[number], matrix(block.mlp.down)[:, number]
    group = number // (config.heads // config.kv_heads)
    values = matrix(block.attention.value).unflatten(0, (config.kv_heads, -1))[group]
    out = matrix(block.attention.out).unflatten(1, (config.heads, -1))[:, number]
    return values.norm(dim=0), out.norm(dim=1)
