"""A quantized model: the tensors of its file, and its layers in place of the plain ones.

All weights outside the linear layers of the blocks and, if the scheme includes them, embedding and head, are plain.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.weights.names import family_of, hub_layers, to_hub_config
from sayso.weights.quantize.ends import BITS, round_ends
from sayso.weights.quantize.layers import QuantizedLinear
from sayso.weights.quantize.scheme import Scheme
from sayso.weights.quantize.weight import PARTS, QuantizedWeight, read_weight


@dataclass(frozen=True)
class Quantized:
    """How a model is quantized, and the numbers of each layer that is, by its name in a file or in a model."""

    scheme: Scheme
    layers: dict[str, QuantizedWeight]
    ends: dict[str, Tensor] = field(default_factory=dict)
    """What embedding and head are rounded from, float16 [V, C], by our names."""

    @property
    def count(self) -> int:
        """Number of weights that are integers."""
        matrices = [*(held.integers.values for held in self.layers.values()), *self.ends.values()]
        return sum(x.numel() for x in matrices)


def quantized_to_hub(model: Transformer, quantized: Quantized) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a model's file and its config.json; `quantized` are layers by our names."""
    theirs = hub_layers(quantized.layers, model.config)
    inside = tuple(f"{name}." for name in (*quantized.layers, *(("embed", "unembed") if quantized.ends else ())))
    rest = {
        name: x.detach()
        for name, x in model.state_dict().items()
        if not name.startswith(inside) or name.endswith(".bias")
    }
    plain = family_of(model.config, apart=True).to_hub(rest | quantized.ends, model.config)
    whole = {
        f"{theirs[name]}.{part}": x
        for name, held in quantized.layers.items()
        for part, x in held.tensors(quantized.scheme.form).items()
    }
    facts = to_hub_config(model.config, apart=True) | {"quantization_config": quantized.scheme.write()}
    return {name: x.cpu() for name, x in (plain | whole).items()}, facts | ({BITS: 8} if quantized.ends else {})


def quantized_from_hub(found: dict[str, Tensor], scheme: Scheme) -> tuple[dict[str, Tensor], Quantized]:
    """Return a file's tensors with a placeholder of the right shape for each quantized matrix, and the matrices.

    A placeholder takes no memory. Raises `UserError` for inconsistent tensors.
    """
    mark = ".weight_scale"
    names = [name.removesuffix(mark) for name in found if name.endswith(mark)]
    rest, layers = dict(found), {}
    for name in names:
        parts = {part: rest.pop(f"{name}.{part}") for part in PARTS if f"{name}.{part}" in rest}
        layers[name] = held = read_weight(parts, scheme, name)
        rest[f"{name}.weight"] = torch.zeros(()).expand(held.integers.values.shape)
    if not layers:
        raise UserError("A quantized model needs layers with a weight_scale; this one has none: copy it again.")
    return rest, Quantized(scheme, layers)


def install(model: Transformer, quantized: Quantized, device: str) -> None:
    """Replace the placeholders by the layers of `quantized`, keyed by names in a file, built for a kind of device.

    Raises `UserError` for a layer outside the blocks.
    """
    left, plain = dict(quantized.layers), linear_layers(model)
    for ours, theirs in hub_layers(plain, model.config).items():
        if theirs in left:
            held = left.pop(theirs)
            model.set_submodule(ours, held.layer(device, plain[ours].bias, inputs8=quantized.scheme.inputs8))
    if left:
        raise UserError(f"Sayso supports quantized layers inside the blocks only; this model also has {min(left)}.")
    if quantized.scheme.ends8:
        round_ends(model, device)


def bits_of(model: Transformer) -> int | None:
    """Return the bits of a quantized model's weights; None for a plain model."""
    for layer in model.modules():
        if isinstance(layer, QuantizedLinear):
            return layer.bits
    return None
