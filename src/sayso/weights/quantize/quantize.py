"""Quantize a plain model: every linear layer inside its blocks, and optionally embedding and head."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.model.adapters import linear_layers
from sayso.model.linear import Linear
from sayso.weights.quantize.calibrate import Inputs, through_blocks
from sayso.weights.quantize.ends import round_ends
from sayso.weights.quantize.gptq import damped, gptq
from sayso.weights.quantize.integers import round_nearest
from sayso.weights.quantize.layers import QuantizedLinear, outlying
from sayso.weights.quantize.model import Quantized
from sayso.weights.quantize.refine import refined
from sayso.weights.quantize.scheme import Scheme
from sayso.weights.quantize.weight import QuantizedWeight


@dataclass(frozen=True)
class QuantizeMethod:
    """How weights are rounded to integers."""

    gptq: bool = False
    """Whether later weights of a row make up for the rounding of earlier ones, by what a block's layer is given."""
    outliers: float = 0.0
    """Share of the columns of 8-bit inputs that are kept apart, those with the largest peaks; 0 keeps none.

    LLM.int8() takes the columns that reach 6; the largest of each layer are fewer and lose less (see LOG.md).
    """

    def __post_init__(self) -> None:
        if not 0 <= self.outliers <= 1:
            raise UserError(f"Outliers must be a fraction of the columns, 0 to 1; got {self.outliers:g}.")

    def calibrates(self, scheme: Scheme) -> bool:
        """Whether text is needed."""
        return self.gptq or (scheme.inputs8 and bool(self.outliers))


def quantize_model(
    model: Transformer,
    scheme: Scheme,
    method: QuantizeMethod,
    rows: Tensor | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Quantized:
    """Quantize a plain model in place, and return its integers by the names of its layers.

    `rows` [B, T] are ids to calibrate on, which some methods need; `tell` hears how many blocks are done. Raises
    `UserError` for groups that do not divide a row.
    """
    for layer in linear_layers(model).values():
        scheme.grid.groups(layer.in_features)
    held: dict[str, QuantizedWeight] = {}
    # First, so that blocks are calibrated on what the embedding has become.
    ends = round_ends(model, model.device.type) if scheme.ends8 else {}

    def replaced(name: str, layer: Linear, inputs: Inputs | None) -> QuantizedLinear:
        weight = layer.weight.detach()
        held[name] = found = _rounded(weight, scheme, method, inputs)
        return found.layer(weight.device.type, layer.bias, inputs8=scheme.inputs8)

    if method.calibrates(scheme):
        assert rows is not None, "text to calibrate on"
        through_blocks(model, rows, replaced, tell)
    else:
        for name, layer in linear_layers(model).items():
            model.set_submodule(name, replaced(name, layer, None))
    return Quantized(scheme, held, ends)


def _rounded(weight: Tensor, scheme: Scheme, method: QuantizeMethod, inputs: Inputs | None) -> QuantizedWeight:
    if method.gptq and inputs is not None:
        integers = refined(weight, gptq(weight, inputs.gram, scheme.grid), damped(inputs.gram))
    else:
        integers = round_nearest(weight, scheme.grid)
    if not (scheme.inputs8 and method.outliers and inputs is not None):
        return QuantizedWeight(integers)
    outliers = outlying(inputs.peaks, method.outliers)
    return (
        QuantizedWeight(integers)
        if outliers is None
        else QuantizedWeight(integers, outliers, weight[:, outliers].clone())
    )
