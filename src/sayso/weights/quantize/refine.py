"""Refine the result of GPTQ by alternating between the best scales for fixed integers and the reverse.

    minimize  tr (W - Q) H (W - Q)^T ,    Q = s (q - z),    H the damped Gram matrix of a layer's inputs

GPTQ visits the columns once, with scales chosen before it starts. Given its integers, the best scales of a row solve a
linear system; given these, every column is rounded again, with the errors of all others known (coordinate descent:
Behdin et al. 2023, QuantEase). Neither step can increase the error. R outputs, C inputs, G groups per row.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sayso.weights.quantize.integers import Integers, rounded

SWEEPS = 2
_BLOCK = 128
"""Columns whose changes are accumulated before the rest of the matrix is updated."""
_ROWS = 256
"""Rows whose systems, each of size G x G, are solved at once."""


def refined(weight: Tensor, integers: Integers, hessian: Tensor) -> Integers:
    """Return better integers and scales for weights [R, C], given H, float64 [C, C]."""
    weight = weight.to(torch.float32)
    return rescaled(weight, descended(weight, rescaled(weight, integers, hessian), hessian), hessian)


def rescaled(weight: Tensor, integers: Integers, hessian: Tensor) -> Integers:
    """Return the same integers with the best scales for each row; scales that would not be positive are kept."""
    parts = [
        _scales(rows, steps, hessian)
        for rows, steps in zip(weight.split(_ROWS), integers.steps().split(_ROWS), strict=True)
    ]
    scales = torch.cat(parts)
    return replace(integers, scales=torch.where(scales > 0, scales, integers.scales))


def _scales(weight: Tensor, steps: Tensor, hessian: Tensor) -> Tensor:
    """Solve  sum_h s_h u_g H u_h = u_g H w  for the scales of each row; steps u are [R, G, C/G]."""
    steps, groups, size = steps.double(), steps.shape[1], steps.shape[2]

    def onto(rows: Tensor) -> Tensor:
        return (rows.unflatten(1, (groups, size)) * steps).sum(-1)

    each = zip(steps.unbind(1), hessian.split(size), strict=True)
    left = torch.stack([onto(part @ rows) for part, rows in each], dim=1)
    right = onto(weight.double() @ hessian)
    ridge = 1e-6 * left.diagonal(dim1=1, dim2=2).mean(1) + 1e-12  # a group of zeros would make it singular
    left.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    return torch.linalg.solve(left, right).float()


def descended(weight: Tensor, integers: Integers, hessian: Tensor) -> Integers:
    """Return new integers with the same scales: each column in turn, optimal given all others."""
    size = weight.shape[1] // integers.scales.shape[1]
    hessian, values = hessian.to(torch.float32), integers.values.clone()
    error = weight - integers.dequantized()
    for _ in range(SWEEPS):
        for start in range(0, weight.shape[1], _BLOCK):
            stop = min(start + _BLOCK, weight.shape[1])
            gradient = error @ hessian[:, start:stop]
            for column in range(start, stop):
                scale = integers.scales[:, column // size]
                zero = None if integers.zeros is None else integers.zeros[:, column // size]
                optimum = weight[:, column] - error[:, column] + gradient[:, column - start] / hessian[column, column]
                values[:, column] = new = rounded(optimum, scale, zero, integers.grid)
                quantized = (new.float() if zero is None else new.float() - zero) * scale
                change = weight[:, column] - quantized - error[:, column]
                error[:, column] += change
                gradient += torch.outer(change, hessian[column, start:stop])
    return replace(integers, values=values)
