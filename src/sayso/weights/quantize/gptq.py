"""GPTQ (Frantar et al. 2022): round a matrix column by column; later columns compensate the error of each.

    minimize  ||(W - Q) X||^2 ,    H = X X^T the Gram matrix of a layer's inputs over calibration text

The rounding error of a column is distributed over the remaining columns, along the rows of the Cholesky factor of H^-1.
Columns with the largest diagonal of H come first. Scales are chosen on the original matrix, so groups stay contiguous;
each covers the fraction of its group's range that has the smallest error.
"""

import torch
from torch import Tensor

from sayso.weights.quantize.integers import Grid, Integers, fit_best, rounded

DAMPING = 0.01
"""Fraction of the mean of H's diagonal that is added to it, as in the paper."""
_BLOCK = 128
"""Columns whose errors are accumulated before the rest of the matrix is updated."""


def gptq(weight: Tensor, gram: Tensor, grid: Grid) -> Integers:
    """Return weights [R, C] rounded to the grid, for inputs with the Gram matrix [C, C]."""
    scales, zeros = fit_best(weight, grid, gram.diagonal())
    order = gram.diagonal().argsort(descending=True)
    group = torch.arange(len(gram), device=gram.device) // (len(gram) // scales.shape[1])
    factor = _inverse_factor(gram[order][:, order])
    remaining = weight.to(torch.float32)[:, order].clone()
    values = torch.empty_like(remaining, dtype=torch.int8)
    column_scale = scales[:, group[order]]
    column_zero = None if zeros is None else zeros[:, group[order]]
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        errors = torch.empty_like(remaining[:, start:stop])
        for column in range(start, stop):
            scale, zero = column_scale[:, column], None if column_zero is None else column_zero[:, column]
            values[:, column] = integers = rounded(remaining[:, column], scale, zero, grid)
            quantized = (integers.float() if zero is None else integers.float() - zero) * scale
            error = (remaining[:, column] - quantized) / factor[column, column]
            remaining[:, column + 1 : stop] -= torch.outer(error, factor[column, column + 1 : stop])
            errors[:, column - start] = error
        remaining[:, stop:] -= errors @ factor[start:stop, stop:]
    return Integers(values[:, order.argsort()], scales, zeros, grid)


def damped(gram: Tensor) -> Tensor:
    """Return an invertible Gram matrix [C, C], in float64, since inputs may differ in magnitude by thousands."""
    gram = gram.double()
    damping = (DAMPING * gram.diagonal().mean()).clamp_min(1e-10)
    return gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device) * damping


def _inverse_factor(gram: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the damped Gram matrix's inverse, [C, C]."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(gram)))
    return torch.linalg.cholesky(inverse, upper=True).float()
