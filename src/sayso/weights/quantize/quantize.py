"""Quantize a model: every linear layer inside its blocks, and optionally embedding and head."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.model.linear import Linear
from sayso.weights.quantize.calibrate import Inputs, replace_layers
from sayso.weights.quantize.ends import quantize_ends
from sayso.weights.quantize.gptq import damped, gptq
from sayso.weights.quantize.integers import round_nearest
from sayso.weights.quantize.layers import QuantizedLinear, outlying
from sayso.weights.quantize.model import Quantized
from sayso.weights.quantize.refine import refined
from sayso.weights.quantize.scheme import Scheme
from sayso.weights.quantize.weight import QuantizedWeight


@dataclass(frozen=True)
class QuantizeMethod:
    """Settings of the rounding to integers."""

    gptq: bool = False
    """Whether to use GPTQ: later weights of a row compensate the rounding of earlier ones."""
    outliers: float = 0.0
    """Fraction of the columns, those with the largest peaks, to keep in float32 if inputs have 8 bits; 0 = none.

    LLM.int8() keeps the columns that reach 6; the largest ones of each layer are fewer and more accurate (see LOG.md).
    """

    def __post_init__(self) -> None:
        if not 0 <= self.outliers <= 1:
            raise UserError(f"Outliers must be a fraction of the columns, from 0 to 1; got {self.outliers:g}.")

    def calibrates(self, scheme: Scheme) -> bool:
        """Whether calibration text is needed."""
        return self.gptq or (scheme.inputs8 and bool(self.outliers))


def quantize_model(
    model: Transformer,
    scheme: Scheme,
    method: QuantizeMethod,
    rows: Tensor | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Quantized:
    """Quantize a model in place, and return its quantized weights by the names of its layers.

    `rows` [B, T] are ids to calibrate on, which some methods need; `progress` is called with the number of finished
    blocks. Raises `UserError` for groups that do not divide a row.
    """
    for layer in linear_layers(model).values():
        scheme.grid.groups(layer.in_features)
    weights: dict[str, QuantizedWeight] = {}
    # The ends come first, so that blocks are calibrated on the quantized embedding.
    ends = quantize_ends(model, model.device.type) if scheme.ends8 else {}

    def quantized(name: str, layer: Linear, inputs: Inputs | None) -> QuantizedLinear:
        original = layer.weight.detach()
        weights[name] = weight = _rounded(original, scheme, method, inputs)
        return weight.layer(original.device.type, layer.bias, inputs8=scheme.inputs8)

    if method.calibrates(scheme):
        assert rows is not None, "calibration needs rows"
        replace_layers(model, rows, quantized, progress)
    else:
        for name, layer in linear_layers(model).items():
            model.set_submodule(name, quantized(name, layer, None))
    return Quantized(scheme, weights, ends)


def _rounded(weight: Tensor, scheme: Scheme, method: QuantizeMethod, inputs: Inputs | None) -> QuantizedWeight:
    if method.gptq and inputs is not None:
        integers = refined(weight, gptq(weight, inputs.gram, scheme.grid), damped(inputs.gram))
    else:
        integers = round_nearest(weight, scheme.grid)
    if not (scheme.inputs8 and method.outliers and inputs is not None):
        return QuantizedWeight(integers)
    outliers = outlying(inputs.peaks, method.outliers)
    if outliers is None:
        return QuantizedWeight(integers)
    return QuantizedWeight(integers, outliers, weight[:, outliers].clone())
