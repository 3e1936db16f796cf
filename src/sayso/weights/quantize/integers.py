"""A matrix as integers: w ~ scale (q - zero), with a scale, and optionally a zero point, for each group of a row.

8-bit weights have one symmetric scale per row. 4-bit weights have a scale and a zero point per group of columns, so
that the few steps cover only the range of the group. R outputs, C inputs, G groups per row, of C/G columns each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError

LEAST = 1e-8  # smallest scale, so that a group of zeros has a nonzero one
SHARES = [1 - step / 80 for step in range(40)]
"""Fractions of a group's range that `fit_best` tries."""


@dataclass(frozen=True)
class Grid:
    """The integer grid of a matrix. Raises `UserError` for bits other than 8 and 4."""

    bits: int
    group: int = 0
    """Columns that share a scale; 0 = the whole row."""
    symmetric: bool = True
    """Whether the zero point is 0; otherwise it is fitted to each group."""

    def __post_init__(self) -> None:
        if self.bits not in (8, 4):
            raise UserError(f"Weights can be quantized to 8 or 4 bits; got {self.bits}.")
        if not isinstance(self.group, int) or self.group < 0:
            raise UserError(f"The group size must be a positive integer, or 0 for the whole row; got {self.group!r}.")

    @property
    def least(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1))

    @property
    def most(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    def groups(self, columns: int) -> int:
        """Return the number of groups in a row of `columns`. Raises `UserError` if the row is not divisible."""
        if self.group and columns % self.group:
            raise UserError(
                f"The group size must divide the {columns} weights of every row; got {self.group}: choose another "
                "--group."
            )
        return columns // self.group if self.group else 1


@dataclass(frozen=True)
class Integers:
    """A matrix on a grid."""

    values: Tensor
    """int8 [R, C]."""
    scales: Tensor
    """float32 [R, G]."""
    zeros: Tensor | None
    """int8 [R, G]; None if they are 0."""
    grid: Grid

    def steps(self) -> Tensor:
        """Return q - zero, float32 [R, G, C/G]."""
        values = self.values.to(torch.float32).unflatten(1, (self.scales.shape[1], -1))
        return values if self.zeros is None else values - self.zeros[..., None]

    def dequantized(self) -> Tensor:
        """Return the represented matrix, float32 [R, C]."""
        return (self.steps() * self.scales[..., None]).flatten(1)


def fit_grid(weight: Tensor, grid: Grid, share: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Return the scales [R, G], and zeros [R, G] unless symmetric, that cover the range of the weights [R, C].

    With a `share` below 1, they cover that fraction of the range, with finer steps; weights outside are clipped.
    """
    parts = weight.to(torch.float32).unflatten(1, (grid.groups(weight.shape[1]), -1))
    if grid.symmetric:
        return (share * parts.abs().amax(-1) / grid.most).clamp_min(LEAST), None
    low, high = share * parts.amin(-1).clamp_max(0), share * parts.amax(-1).clamp_min(0)
    scales = ((high - low) / (grid.most - grid.least)).clamp_min(LEAST)
    return scales, (grid.least - low / scales).round().clamp(grid.least, grid.most).to(torch.int8)


def fit_best(weight: Tensor, grid: Grid, importance: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return scales and zeros as `fit_grid` does, for the share of each group's range with the smallest error.

    Squared errors are weighted by the `importance` of their column, [C].
    """
    parts = weight.to(torch.float32).unflatten(1, (grid.groups(weight.shape[1]), -1))
    weights = importance.view(1, parts.shape[1], -1)
    best: tuple[Tensor, Tensor, Tensor | None] | None = None
    for share in SHARES:
        scales, zeros = fit_grid(weight, grid, share)
        integers = Integers(rounded(parts, scales[..., None], _wide(zeros), grid).flatten(1), scales, zeros, grid)
        error = ((integers.dequantized().view_as(parts) - parts).square() * weights).sum(-1)
        if best is None:
            best = error, scales, zeros
            continue
        better = error < best[0]
        best_zeros = None if zeros is None or best[2] is None else torch.where(better, zeros, best[2])
        best = torch.where(better, error, best[0]), torch.where(better, scales, best[1]), best_zeros
    assert best is not None
    return best[1:]


def rounded(weight: Tensor, scale: Tensor, zero: Tensor | None, grid: Grid) -> Tensor:
    """Return the nearest integers on the grid, int8; scale and zero are broadcast to the weights."""
    steps = (weight / scale).round()
    return (steps if zero is None else steps + zero).clamp(grid.least, grid.most).to(torch.int8)


def round_nearest(weight: Tensor, grid: Grid) -> Integers:
    """Return the weights [R, C] rounded to the nearest values on a grid that covers them."""
    scales, zeros = fit_grid(weight, grid)
    parts = weight.to(torch.float32).unflatten(1, (scales.shape[1], -1))
    return Integers(rounded(parts, scales[..., None], _wide(zeros), grid).flatten(1), scales, zeros, grid)


def _wide(zeros: Tensor | None) -> Tensor | None:
    return None if zeros is None else zeros[..., None]
