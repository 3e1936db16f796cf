"""Refine the result of GPTQ by turns: the best scales for given integers, then the best integers for given scales.

    minimise  tr (W - Q) H (W - Q)^T ,    Q = s (q - z),    H the damped Gram matrix of a layer's inputs

GPTQ visits the columns once, with scales chosen before it starts. Given its integers, the best scales of a row solve a
linear system; given these, every column is rounded again, with the errors of all others known (coordinate descent:
Behdin et al. 2023, QuantEase). Neither step can increase the error. R outputs, C inputs, G groups of a row.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sayso.weights.quantize.integers import Integers, rounded

SWEEPS = 2
_BLOCK = 128
"""Columns whose changes are gathered before the rest of the matrix hears of them."""
_ROWS = 256
"""Rows whose systems are solved at once: each is of G x G."""


def refined(weight: Tensor, held: Integers, hessian: Tensor) -> Integers:
    """Return better numbers for weights [R, C], given H, float64 [C, C]."""
    weight = weight.to(torch.float32)
    return rescaled(weight, descended(weight, rescaled(weight, held, hessian), hessian), hessian)


def rescaled(weight: Tensor, held: Integers, hessian: Tensor) -> Integers:
    """Return the same integers with the best scales for each row; scales that would not be positive are kept."""
    parts = [
        _scales(rows, steps, hessian)
        for rows, steps in zip(weight.split(_ROWS), held.steps().split(_ROWS), strict=True)
    ]
    scales = torch.cat(parts)
    return replace(held, scales=torch.where(scales > 0, scales, held.scales))


def _scales(weight: Tensor, steps: Tensor, hessian: Tensor) -> Tensor:
    """Solve  sum_h s_h u_g H u_h = u_g H w  for the scales of each row; steps u are [R, G, C/G]."""
    steps, groups, size = steps.double(), steps.shape[1], steps.shape[2]

    def onto(rows: Tensor) -> Tensor:
        return (rows.unflatten(1, (groups, size)) * steps).sum(-1)

    each = zip(steps.unbind(1), hessian.split(size), strict=True)
    left = torch.stack([onto(part @ rows) for part, rows in each], dim=1)
    right = onto(weight.double() @ hessian)
    ridge = 1e-6 * left.diagonal(dim1=1, dim2=2).mean(1) + 1e-12  # where a group is all zeros
    left.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    return torch.linalg.solve(left, right).float()


def descended(weight: Tensor, held: Integers, hessian: Tensor) -> Integers:
    """Return new integers with the same scales: each column in turn, optimal given all others."""
    size = weight.shape[1] // held.scales.shape[1]
    hessian, values = hessian.to(torch.float32), held.values.clone()
    lost = weight - held.dequantized()
    for _ in range(SWEEPS):
        for start in range(0, weight.shape[1], _BLOCK):
            stop = min(start + _BLOCK, weight.shape[1])
            pull = lost @ hessian[:, start:stop]
            for column in range(start, stop):
                scale = held.scales[:, column // size]
                zero = None if held.zeros is None else held.zeros[:, column // size]
                wanted = weight[:, column] - lost[:, column] + pull[:, column - start] / hessian[column, column]
                values[:, column] = whole = rounded(wanted, scale, zero, held.grid)
                near = (whole.float() if zero is None else whole.float() - zero) * scale
                change = weight[:, column] - near - lost[:, column]
                lost[:, column] += change
                pull += torch.outer(change, hessian[column, start:stop])
    return replace(held, values=values)
