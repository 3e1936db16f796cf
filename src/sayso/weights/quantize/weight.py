"""The weight of one quantized layer: convert it to and from the tensors of a file, and make the layer.

Packed integers are offset to be nonnegative, and fill an int32 from its lowest bits up: along a row for weights, along
a column for zeros (compressed-tensors). Outliers, which that format lacks, are two additional tensors, `outliers` and
`outlier_weights`; readers that ignore them use the integers of all columns.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError
from sayso.weights.quantize.integers import Grid, Integers
from sayso.weights.quantize.layers import QuantizedLinear, Weights4, Weights8, WeightsAndInputs8
from sayso.weights.quantize.scheme import INT, Scheme

_WORD = 32
PARTS = ["weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "outliers", "outlier_weights"]


@dataclass(frozen=True)
class QuantizedWeight:
    """The integers of a layer, and its outlier columns."""

    integers: Integers
    outliers: Tensor | None = None
    """Indices of the outlier columns, int64 [K]."""
    outlier_weights: Tensor | None = None
    """Weights of these columns, float32 [R, K]."""

    def layer(self, device: str, bias: Tensor | None = None, *, inputs8: bool = False) -> QuantizedLinear:
        """Return the layer for a device type."""
        zeros = None if self.integers.zeros is None else self.integers.zeros.to(device)
        integers = Integers(self.integers.values.to(device), self.integers.scales.to(device), zeros, self.integers.grid)
        bias = None if bias is None else bias.detach().to(device)
        if integers.grid.bits == 4:
            return Weights4(integers, bias)
        if not inputs8:
            return Weights8(integers, bias)
        outliers = (None if x is None else x.to(device) for x in (self.outliers, self.outlier_weights))
        return WeightsAndInputs8(integers, bias, *outliers)

    def tensors(self, form: str) -> dict[str, Tensor]:
        """Return the tensors to save in a format, by the last part of their names."""
        integers, bits = self.integers, self.integers.grid.bits
        found = {"weight_scale": integers.scales}
        if form == INT:
            found["weight"] = integers.values
        else:
            found["weight_packed"] = pack(integers.values, bits)
            found["weight_shape"] = torch.tensor(integers.values.shape)
            if integers.zeros is not None:
                found["weight_zero_point"] = pack(integers.zeros.T, bits).T
        if self.outliers is not None and self.outlier_weights is not None:
            found |= {"outliers": self.outliers, "outlier_weights": self.outlier_weights}
        return {name: x.cpu().contiguous() for name, x in found.items()}


def read_weight(found: dict[str, Tensor], scheme: Scheme, layer: str) -> QuantizedWeight:
    """Return the weight of a layer from its saved tensors. Raises `UserError` if they are inconsistent."""
    grid, form = scheme.grid, scheme.form
    required = {"weight_scale", *(("weight",) if form == INT else ("weight_packed", "weight_shape"))}
    required |= set() if grid.symmetric else {"weight_zero_point"}
    if missing := sorted(required - found.keys()):
        raise UserError(f"The quantized layer '{layer}' has no {', '.join(missing)}; copy the model again.")
    if form == INT:
        rows, columns = found["weight"].shape if found["weight"].ndim == 2 else (0, 0)
        values = _checked(found, "weight", torch.int8, (rows, columns), layer)
    else:
        rows, columns = _shape(found["weight_shape"], layer)
        packed = _checked(found, "weight_packed", torch.int32, (rows, _words(columns, grid)), layer)
        values = unpack(packed, grid, columns)
    groups = grid.groups(columns)
    scales = _checked(found, "weight_scale", None, (rows, groups), layer).to(torch.float32)
    zeros = None
    if not grid.symmetric:
        words = _checked(found, "weight_zero_point", torch.int32, (_words(rows, grid), groups), layer)
        zeros = unpack(words.T, grid, rows).T.contiguous()
    integers = Integers(values, scales, zeros, grid)
    if "outliers" not in found:
        return QuantizedWeight(integers)
    outliers = found["outliers"]
    if outliers.ndim != 1 or outliers.dtype != torch.int64 or not ((outliers >= 0) & (outliers < columns)).all():
        raise UserError(f"The outliers of '{layer}' must be indices of its {columns} columns; copy the model again.")
    return QuantizedWeight(
        integers, outliers, _checked(found, "outlier_weights", torch.float32, (rows, len(outliers)), layer)
    )


def pack(values: Tensor, bits: int) -> Tensor:
    """Return int8 [R, C] as int32 [R, W], with 32/bits values in each word; the last one is padded."""
    per_word = _WORD // bits
    padded = F.pad(values.to(torch.int64) + (1 << (bits - 1)), (0, -values.shape[1] % per_word))
    parts = padded.unflatten(1, (-1, per_word))
    words = (parts << torch.arange(0, _WORD, bits, device=values.device)).sum(-1)
    return words.to(torch.int32)  # the highest bit becomes the sign


def unpack(words: Tensor, grid: Grid, columns: int) -> Tensor:
    """Return int32 [R, W] as int8 [R, C] with C = `columns`: the inverse of `pack`."""
    shifts = torch.arange(0, _WORD, grid.bits, dtype=torch.int32, device=words.device)
    parts = (words[..., None] >> shifts) & ((1 << grid.bits) - 1)
    return (parts + grid.least).flatten(1)[:, :columns].to(torch.int8)


def _words(count: int, grid: Grid) -> int:
    return -(-count * grid.bits // _WORD)


def _shape(stored: Tensor, layer: str) -> tuple[int, int]:
    if stored.numel() != 2 or stored.dtype.is_floating_point or min(stored.tolist()) < 1:
        raise UserError(
            f"The weight_shape of '{layer}' must be two positive integers; got {stored.tolist()}: copy the model again."
        )
    rows, columns = stored.tolist()
    return rows, columns


def _checked(
    found: dict[str, Tensor], name: str, dtype: torch.dtype | None, shape: tuple[int, int], layer: str
) -> Tensor:
    x = found.get(name)
    valid = x is not None and tuple(x.shape) == shape and (x.dtype == dtype if dtype else x.dtype.is_floating_point)
    if x is None or not valid:
        got = "none" if x is None else f"{x.dtype} {list(x.shape)}"
        kind = str(dtype or "a float").removeprefix("torch.")
        raise UserError(
            f"'{name}' of the quantized layer '{layer}' must be {kind} {list(shape)}; got {got}: copy the model again."
        )
    return x
