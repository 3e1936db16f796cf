"""The win rate that two models would have with replies of equal length.

    logit P(a wins) = t + f * tanh((length of a - length of b) / sd of that difference)

Takes the results of pairs and the lengths of their replies, returns 1 / (1 + exp(-t)). This is the regression of
AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475) without the difficulty of each instruction, which takes the results
of many models to estimate. N pairs, G groups.
"""

import math
from collections.abc import Sequence

import numpy as np

from sayso.judge.statistics.agreement import of_comparisons
from sayso.judge.statistics.clusters import cluster_numbers
from sayso.judge.statistics.estimate import Estimate, Floats, t_quantile, without_error

_RIDGE = np.diag((1e-3, 0.1))  # penalty of t and f: finite even if the longer reply always wins
_STEPS = 200


def length_controlled(results: Floats, a: Floats, b: Floats, groups: Sequence[object]) -> Estimate:
    """Return the length-controlled win rate, for results (1, 0 or 0.5) and lengths of the two replies, [N] each.

    The interval is that of t, whose error is clustered by group (the sandwich of White 1980). It is wide if the lengths
    hardly overlap, and the rate is NaN if one reply is always longer by the same amount. Results that are all equal get
    the plain rate.
    """
    difference = np.asarray(a, np.float64) - b
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    if not difference.any() or np.ptp(results) == 0:
        return of_comparisons(results - 0.5, groups).estimate()
    if spread == 0:
        return without_error(math.nan, len(results))
    design = np.stack((np.ones(len(difference)), np.tanh(difference / spread)), 1)
    found, hessian = _fit(design, results)
    rate = _sigmoid(float(found[0]))
    numbers = cluster_numbers(groups, len(results))
    count = int(numbers.max()) + 1
    if count < 2:
        return without_error(rate, len(results))
    slopes = np.zeros((count, 2))
    np.add.at(slopes, numbers, (results - 1 / (1 + np.exp(-design @ found)))[:, None] * design)
    inverse = np.linalg.inv(hessian)
    se = math.sqrt((inverse @ slopes.T @ slopes @ inverse)[0, 0] * count / (count - 1))
    margin = t_quantile(count - 1) * se
    ends = (_sigmoid(float(found[0]) - margin), _sigmoid(float(found[0]) + margin))
    return Estimate(rate, rate * (1 - rate) * se, len(results), *ends)


def _fit(design: Floats, results: Floats) -> tuple[Floats, Floats]:
    """Return t and f, [2], and the Hessian there, by Newton's method, damped as in `bradley_terry.strengths`."""
    found = np.zeros(2)
    for _ in range(_STEPS):
        mean = 1 / (1 + np.exp(-design @ found))
        hessian = design.T * (mean * (1 - mean)) @ design + _RIDGE
        step = np.linalg.solve(hessian, design.T @ (mean - results) + _RIDGE @ found)
        reach = float(np.abs(step).sum())
        if reach < 1e-9:
            return found, hessian
        found -= step * math.log1p(reach) / reach
    raise AssertionError("Newton's method has not converged")


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
