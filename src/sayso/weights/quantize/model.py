"""Convert a quantized model to and from the tensors of its file.

Quantized are the linear layers of the blocks and, if the scheme includes them, embedding and head; all other weights
stay in floating point.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.weights.names import family_of, hub_layers, to_hub_config
from sayso.weights.quantize.ends import BITS, quantize_ends
from sayso.weights.quantize.layers import QuantizedLinear
from sayso.weights.quantize.scheme import Scheme
from sayso.weights.quantize.weight import PARTS, QuantizedWeight, read_weight


@dataclass(frozen=True)
class Quantized:
    """The quantized weights of a model."""

    scheme: Scheme
    layers: dict[str, QuantizedWeight]
    """Quantized layers, by their names in a file or in a model."""
    ends: dict[str, Tensor] = field(default_factory=dict)
    """Original weights of embedding and head, float16 [V, C], by our names; empty if they are not quantized."""

    @property
    def count(self) -> int:
        """Number of quantized weights."""
        matrices = [*(weight.integers.values for weight in self.layers.values()), *self.ends.values()]
        return sum(x.numel() for x in matrices)


def quantized_to_hub(model: Transformer, quantized: Quantized) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a model's file and its config.json; `quantized` has layers by our names."""
    theirs = hub_layers(quantized.layers, model.config)
    prefixes = tuple(f"{name}." for name in (*quantized.layers, *(("embed", "unembed") if quantized.ends else ())))
    rest = {
        name: x.detach()
        for name, x in model.state_dict().items()
        if not name.startswith(prefixes) or name.endswith(".bias")
    }
    plain = family_of(model.config, unfused=True).to_hub(rest | quantized.ends, model.config)
    integers = {
        f"{theirs[name]}.{part}": x
        for name, weight in quantized.layers.items()
        for part, x in weight.tensors(quantized.scheme.form).items()
    }
    facts = to_hub_config(model.config, unfused=True) | {"quantization_config": quantized.scheme.write()}
    return {name: x.cpu() for name, x in (plain | integers).items()}, facts | ({BITS: 8} if quantized.ends else {})


def quantized_from_hub(found: dict[str, Tensor], scheme: Scheme) -> tuple[dict[str, Tensor], Quantized]:
    """Return a file's tensors, with placeholders for quantized matrices, and these matrices.

    Placeholders have the right shape but take no memory. Raises `UserError` for inconsistent tensors.
    """
    suffix = ".weight_scale"
    names = [name.removesuffix(suffix) for name in found if name.endswith(suffix)]
    rest, layers = dict(found), {}
    for name in names:
        parts = {part: rest.pop(f"{name}.{part}") for part in PARTS if f"{name}.{part}" in rest}
        layers[name] = weight = read_weight(parts, scheme, name)
        rest[f"{name}.weight"] = torch.zeros(()).expand(weight.integers.values.shape)
    if not layers:
        raise UserError("A quantized model needs layers with a weight_scale; this one has none: copy it again.")
    return rest, Quantized(scheme, layers)


def install(model: Transformer, quantized: Quantized, device: str) -> None:
    """Replace the placeholders by the layers of `quantized`, keyed by names in a file, built for a device type.

    Raises `UserError` for a layer outside the blocks.
    """
    left, plain = dict(quantized.layers), linear_layers(model)
    for ours, theirs in hub_layers(plain, model.config).items():
        if theirs in left:
            weight = left.pop(theirs)
            model.set_submodule(ours, weight.layer(device, plain[ours].bias, inputs8=quantized.scheme.inputs8))
    if left:
        raise UserError(f"Sayso supports quantized layers only inside the blocks; this model also has {min(left)}.")
    if quantized.scheme.ends8:
        quantize_ends(model, device)


def bits_of(model: Transformer) -> int | None:
    """Return the bits of a quantized model's weights; None for a plain model."""
    for layer in model.modules():
        if isinstance(layer, QuantizedLinear):
            return layer.bits
    return None
