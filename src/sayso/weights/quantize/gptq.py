"""GPTQ (Frantar et al. 2022): round a matrix column by column, and let later columns compensate the error of each.

    minimise  ||(W - Q) X||^2 ,    H = X X^T the Gram matrix of a layer's inputs over calibration text

The rounding error of a column is spread over the columns not rounded yet, along the rows of the Cholesky factor of
H^-1. The columns with the largest diagonal of H come first; scales are chosen on the original matrix, so that groups
stay in place, each with the fraction of its group's range that has the smallest error.
"""

import torch
from torch import Tensor

from sayso.weights.quantize.integers import Grid, Integers, fit_best, rounded

DAMPING = 0.01
"""Share of the mean of H's diagonal that is added to it, as in the paper."""
_BLOCK = 128
"""Columns whose errors are gathered before the rest of the matrix hears of them."""


def gptq(weight: Tensor, gram: Tensor, grid: Grid) -> Integers:
    """Return weights [R, C] on the grid, for inputs with the gram matrix [C, C]."""
    scales, zeros = fit_best(weight, grid, gram.diagonal())
    order = gram.diagonal().argsort(descending=True)
    group = torch.arange(len(gram), device=gram.device) // (len(gram) // scales.shape[1])
    spread = _spread(gram[order][:, order])
    left = weight.to(torch.float32)[:, order].clone()
    values = torch.empty_like(left, dtype=torch.int8)
    column_scale = scales[:, group[order]]
    column_zero = None if zeros is None else zeros[:, group[order]]
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        errors = torch.empty_like(left[:, start:stop])
        for column in range(start, stop):
            scale, zero = column_scale[:, column], None if column_zero is None else column_zero[:, column]
            values[:, column] = whole = rounded(left[:, column], scale, zero, grid)
            near = (whole.float() if zero is None else whole.float() - zero) * scale
            error = (left[:, column] - near) / spread[column, column]
            left[:, column + 1 : stop] -= torch.outer(error, spread[column, column + 1 : stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    return Integers(values[:, order.argsort()], scales, zeros, grid)


def damped(gram: Tensor) -> Tensor:
    """Return a gram matrix [C, C] that no direction is without, float64: inputs may differ in size by thousands."""
    gram = gram.double()
    least = (DAMPING * gram.diagonal().mean()).clamp_min(1e-10)
    return gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device) * least


def _spread(gram: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the damped gram matrix's inverse, [C, C]."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped(gram)))
    return torch.linalg.cholesky(inverse, upper=True).float()
