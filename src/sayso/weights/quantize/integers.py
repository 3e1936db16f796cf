"""A matrix as integers: w ~ scale (q - zero), with a scale, and optionally a zero, for each group of a row.

8 bits have one symmetric scale per row; 4 bits have a scale and a zero for every group of columns, since the few steps
must cover just the range of a group. R outputs, C inputs, G groups of a row, of C/G columns each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.base.errors import UserError

LEAST = 1e-8  # of a scale: a group of zeros has some scale all the same
SHARES = [1 - step / 80 for step in range(40)]
"""Of a group's range, that are tried for the one that loses least."""


@dataclass(frozen=True)
class Grid:
    """The integer grid of a matrix. Raises `UserError` for bits other than 8 and 4."""

    bits: int
    group: int = 0
    """Columns that share a scale; 0 for a whole row."""
    symmetric: bool = True
    """Whether zero is in the middle of the steps, or fitted to each group's weights."""

    def __post_init__(self) -> None:
        if self.bits not in (8, 4):
            raise UserError(f"Weights can be quantized to 8 or 4 bits; got {self.bits}.")
        if not isinstance(self.group, int) or self.group < 0:
            raise UserError(f"The group size must be a number of weights, or 0 for a whole row; got {self.group!r}.")

    @property
    def least(self) -> int:
        """The smallest integer."""
        return -(1 << (self.bits - 1))

    @property
    def most(self) -> int:
        """The largest integer."""
        return (1 << (self.bits - 1)) - 1

    def groups(self, columns: int) -> int:
        """Return the number of groups in a row of `columns`. Raises `UserError` if it does not divide evenly."""
        if self.group and columns % self.group:
            raise UserError(f"Groups of {self.group} do not divide a row of {columns} weights; choose another --group.")
        return columns // self.group if self.group else 1


@dataclass(frozen=True)
class Integers:
    """A matrix on a grid."""

    values: Tensor
    """int8 [R, C]."""
    scales: Tensor
    """float32 [R, G]."""
    zeros: Tensor | None
    """int8 [R, G]; None where zero is zero."""
    grid: Grid

    def steps(self) -> Tensor:
        """Return q - zero, float32 [R, G, C/G]."""
        values = self.values.to(torch.float32).unflatten(1, (self.scales.shape[1], -1))
        return values if self.zeros is None else values - self.zeros[..., None]

    def dequantized(self) -> Tensor:
        """Return the matrix that this represents, float32 [R, C]."""
        return (self.steps() * self.scales[..., None]).flatten(1)


def fit_grid(weight: Tensor, grid: Grid, share: float = 1.0) -> tuple[Tensor, Tensor | None]:
    """Return the scales [R, G], and zeros [R, G] where they are wanted, that just hold the weights [R, C].

    Where only a share of their range is held, weights beyond it become its ends, and steps are finer.
    """
    parts = weight.to(torch.float32).unflatten(1, (grid.groups(weight.shape[1]), -1))
    if grid.symmetric:
        return (share * parts.abs().amax(-1) / grid.most).clamp_min(LEAST), None
    low, high = share * parts.amin(-1).clamp_max(0), share * parts.amax(-1).clamp_min(0)
    scales = ((high - low) / (grid.most - grid.least)).clamp_min(LEAST)
    return scales, (grid.least - low / scales).round().clamp(grid.least, grid.most).to(torch.int8)


def fit_best(weight: Tensor, grid: Grid, importance: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return scales and zeros as `fit_grid`, for the share of each group's range that loses least.

    Squared errors weigh as much as `importance`, of each column [C].
    """
    parts = weight.to(torch.float32).unflatten(1, (grid.groups(weight.shape[1]), -1))
    weights = importance.view(1, parts.shape[1], -1)
    best: tuple[Tensor, Tensor, Tensor | None] | None = None
    for share in SHARES:
        scales, zeros = fit_grid(weight, grid, share)
        held = Integers(rounded(parts, scales[..., None], _wide(zeros), grid).flatten(1), scales, zeros, grid)
        lost = ((held.dequantized().view_as(parts) - parts).square() * weights).sum(-1)
        if best is None:
            best = lost, scales, zeros
            continue
        better = lost < best[0]
        kept = None if zeros is None or best[2] is None else torch.where(better, zeros, best[2])
        best = torch.where(better, lost, best[0]), torch.where(better, scales, best[1]), kept
    assert best is not None
    return best[1:]


def rounded(weight: Tensor, scale: Tensor, zero: Tensor | None, grid: Grid) -> Tensor:
    """Return the nearest integers, int8; scale and zero broadcast to the weights."""
    steps = (weight / scale).round()
    return (steps if zero is None else steps + zero).clamp(grid.least, grid.most).to(torch.int8)


def round_nearest(weight: Tensor, grid: Grid) -> Integers:
    """Return the weights [R, C] rounded to the nearest number of the grid that holds them."""
    scales, zeros = fit_grid(weight, grid)
    parts = weight.to(torch.float32).unflatten(1, (scales.shape[1], -1))
    return Integers(rounded(parts, scales[..., None], _wide(zeros), grid).flatten(1), scales, zeros, grid)


def _wide(zeros: Tensor | None) -> Tensor | None:
    return None if zeros is None else zeros[..., None]
