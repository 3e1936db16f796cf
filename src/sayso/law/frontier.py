"""The compute-optimal size without a law of the loss: Hoffmann et al.'s approaches 1 and 2.

Approach 1: of all runs with about the same compute, the one with the least loss has the optimal size. Approach 2
(IsoFLOP): a parabola of the loss by log N through the runs of each budget, whose lowest point is the optimal size. Both
then fit N = k C^a. Approach 2 is biased where the loss rises unequally to both sides of its lowest point.
"""

from dataclasses import dataclass

import numpy as np

from sayso.base.errors import UserError
from sayso.law.scaling import Floats, Runs

BINS_PER_DECADE = 4


@dataclass(frozen=True)
class PowerLaw:
    """N = k C^a."""

    a: float
    log_k: float
    compute: Floats
    """The budgets that it was fitted to, [m]."""
    parameters: Floats
    """The optimal size at each, [m]."""

    def __call__(self, compute: float) -> float:
        """Return the optimal number of parameters for a budget in FLOPs."""
        return float(np.exp(self.log_k + self.a * np.log(compute)))


@dataclass(frozen=True)
class Parabola:
    """The loss by log N at one budget: low + curve * (log N - middle)^2."""

    compute: float
    middle: float
    low: float
    curve: float
    runs: Runs


def envelope(runs: Runs) -> PowerLaw:
    """Return the power law through the best run of each budget (approach 1).

    Raises `UserError` if the runs span fewer than three budgets.
    """
    bins = np.round(np.log10(runs.compute) * BINS_PER_DECADE)  # round budgets lie in the middle of one
    best = [rows[np.argmin(runs.loss[rows])] for value in np.unique(bins) for rows in [np.flatnonzero(bins == value)]]
    return _power_law(runs.compute[best], runs.parameters[best], "approach 1")


def isoflops(runs: Runs, tolerance: float = 0.1) -> list[Parabola]:
    """Return a parabola for each budget at which there are at least four sizes, and the loss has a lowest point.

    Runs belong to a budget if their compute differs by at most the `tolerance`, as a share of it.
    """
    order = np.argsort(runs.compute, kind="stable")
    groups: list[list[int]] = []
    for row in order:
        if groups and runs.compute[row] <= runs.compute[groups[-1][0]] * (1 + 2 * tolerance):
            groups[-1].append(int(row))
        else:
            groups.append([int(row)])
    found = []
    for group in groups:
        part = runs[np.array(group)]
        if len({*part.parameters.tolist()}) < 4:
            continue
        x = np.log(part.parameters)
        center = x.mean()
        curve, slope, height = np.polyfit(x - center, part.loss, 2)
        if curve > 0:
            middle = center - slope / (2 * curve)
            if x.min() <= middle <= x.max():  # a lowest point beyond the runs is a guess
                low = height - slope**2 / (4 * curve)
                compute = float(np.exp(np.log(part.compute).mean()))
                found.append(Parabola(compute, float(middle), float(low), float(curve), part))
    return found


def isoflop_law(parabolas: list[Parabola]) -> PowerLaw:
    """Return the power law through the lowest points (approach 2). Raises `UserError` for fewer than three."""
    compute = np.array([one.compute for one in parabolas])
    return _power_law(compute, np.exp(np.array([one.middle for one in parabolas])), "approach 2")


def _power_law(compute: Floats, parameters: Floats, name: str) -> PowerLaw:
    if len(compute) < 3:
        raise UserError(f"The power law of {name} needs at least 3 budgets; the runs have {len(compute)}.")
    a, log_k = np.polyfit(np.log(compute), np.log(parameters), 1)
    return PowerLaw(float(a), float(log_k), compute, parameters)
