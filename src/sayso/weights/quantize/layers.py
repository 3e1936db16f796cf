"""Layers with integer weights; the residual stream, norms and sums stay in float32.

    weights only        y = x W^T,  W ~ scale (q - zero), by kernels that unpack while they multiply
    head                the same with x ~ s_x (q + r / 254), both 8-bit, since logits need more precision than bfloat16
    inputs too (W8A8)   y ~ s_x s_w (q_x q_w^T) + x_o W_o^T,  q_x per token, outlier columns o in float32 (LLM.int8())

If a kernel is missing or inaccurate, the reference implementation is used. R outputs, C inputs, G groups per row,
K outliers; for an embedding V rows, one per token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sayso.weights.quantize.integers import LEAST, Integers
from sayso.weights.quantize.kernels import pack4, product8, weights4, weights8


class QuantizedLinear(nn.Module):
    """Base class of the layers below, with shape and bias. They cannot be trained."""

    def __init__(self, integers: Integers, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = integers.values.shape
        self.bits = integers.grid.bits
        self.register_buffer("bias", bias)
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., R] for x [..., C], in the dtype of x."""
        y = self.product(x.flatten(0, -2).to(torch.float32))
        return (y if self.bias is None else y + self.bias).view(*x.shape[:-1], -1).to(x.dtype)

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T, float32 [N, R], for float32 [N, C]."""
        raise NotImplementedError


class Weights8(QuantizedLinear):
    """8-bit weights with a scale per row; inputs are not quantized."""

    def __init__(self, integers: Integers, bias: Tensor | None = None) -> None:
        super().__init__(integers, bias)
        self.register_buffer("values", integers.values)
        self.register_buffer("scales", integers.scales[:, 0])
        self.values: Tensor
        self.scales: Tensor

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T, float32 [N, R]."""
        return weights8(x, self.values) * self.scales


class Weights4(QuantizedLinear):
    """4-bit weights with a scale and a zero point per group of a row; inputs are not quantized."""

    def __init__(self, integers: Integers, bias: Tensor | None = None) -> None:
        super().__init__(integers, bias)
        self.group = integers.values.shape[1] // integers.scales.shape[1]
        packed, scales = pack4(integers) or (None, None)
        self.integers = integers if packed is None else None
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)
        self.packed: Tensor
        self.scales: Tensor

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T, float32 [N, R]."""
        if self.integers is not None:
            return F.linear(x, self.integers.dequantized())
        return weights4(x, self.packed, self.scales, self.group)


class WeightsAndInputs8(QuantizedLinear):
    """8-bit weights with a scale per row, 8-bit inputs with a scale per token; outlier columns in float32."""

    def __init__(
        self,
        integers: Integers,
        bias: Tensor | None = None,
        outliers: Tensor | None = None,
        outlier_weights: Tensor | None = None,
    ) -> None:
        super().__init__(integers, bias)
        self.register_buffer("values", integers.values)
        self.register_buffer("scales", integers.scales[:, 0])
        self.register_buffer("outliers", outliers)
        self.register_buffer("outlier_weights", outlier_weights)
        self.values: Tensor
        self.scales: Tensor
        self.outliers: Tensor | None
        self.outlier_weights: Tensor | None

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T, float32 [N, R]."""
        if self.outliers is None or self.outlier_weights is None:
            return self._rounded(x)
        outlying = F.linear(x[:, self.outliers], self.outlier_weights)
        return self._rounded(x.index_fill(1, self.outliers, 0.0)) + outlying

    def _rounded(self, x: Tensor) -> Tensor:
        scale = (x.abs().amax(-1, keepdim=True) / 127).clamp_min(LEAST)
        return product8((x / scale).round().to(torch.int8), self.values) * scale * self.scales


class Head8(Weights8):
    """8-bit weights with a scale per row; each input is two integers, the second for the rounding error of the first.

    Sums are exact, so inputs have an effective error of at most 1/64,516 of a token's largest one.
    """

    def product(self, x: Tensor) -> Tensor:
        """Return x W^T, float32 [N, R]."""
        scale = (x.abs().amax(-1, keepdim=True) / 127).clamp_min(LEAST)
        first = (x / scale).round()
        rest = ((x / scale - first) * 254).round()
        coarse, fine = product8(torch.cat([first, rest]).to(torch.int8), self.values).split(len(x))
        return (coarse + fine / 254) * scale * self.scales


class Embedding8(nn.Module):
    """8-bit embedding with a scale per row, which may share its integers with the head. It cannot be trained."""

    def __init__(self, values: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)
        self.register_buffer("scales", scales)
        self.values: Tensor
        self.scales: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        """Return [..., C] for ids [...], from values int8 [V, C] and scales [V]."""
        return self.values[ids] * self.scales[ids, None]


def outlying(peaks: Tensor, share: float) -> Tensor | None:
    """Return the given fraction of the columns, those with the largest peaks [C], int64 [K]; None if K is 0."""
    count = round(share * len(peaks))
    return peaks.topk(count).indices.sort().values if count else None
