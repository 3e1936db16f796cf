"""Whether two models differ on the same items: the difference, its interval, and a p value.

Takes the scores of both models by item, returns a `Comparison`. Right or wrong answers get McNemar's test, other scores
the paired t test, and items that share a passage the paired t test by cluster.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sayso.base.errors import UserError
from sayso.judge.statistics.clusters import cluster_numbers, clustered, negligible
from sayso.judge.statistics.distributions import mcnemar, t_beyond
from sayso.judge.statistics.estimate import LEVEL, Estimate, Floats, student, without_error, without_spread


@dataclass(frozen=True)
class Comparison:
    """Two models, A and B, on the same items."""

    difference: Estimate
    """Mean of A minus B."""
    p: float
    """Probability of a difference at least as large between equal models; 1 if there is nothing to compare."""
    n: int
    """Number of items."""
    wins: int
    """Items on which A scores higher."""
    losses: int
    """Items on which B scores higher."""
    ties: int
    """Items on which both score the same."""
    method: str
    """Name of the test."""


def compare_items(
    a: Floats | Sequence[float], b: Floats | Sequence[float], clusters: Sequence[object] | None = None
) -> Comparison:
    """Compare the scores of A and B by item, [n] each; `clusters` names the passage that each item is about.

    Raises `UserError` if the numbers of items differ or a score is not a finite number. Differences that are all equal
    have no error, so their test is the sign test, and their interval is that of `without_spread`.
    """
    left, right = _scores(a, b)
    difference, n = left - right, len(left)
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    counts = (n, wins, losses, n - wins - losses)
    units = int(cluster_numbers(clusters, n).max(initial=-1)) + 1
    both = np.concatenate([left, right])
    if n == 0:
        return Comparison(without_error(math.nan, 0), 1.0, *counts, "none")
    if units == n and np.isin(both, (0.0, 1.0)).all():
        return Comparison(matched_rates(wins, losses, n), mcnemar(wins, losses), *counts, "McNemar, mid-p")
    if units < 2:
        return Comparison(without_error(float(difference.mean()), n), 1.0, *counts, "none")
    found = student(difference) if clusters is None else clustered(difference, clusters)
    if negligible(found.se, difference) or math.isnan(found.se):
        return Comparison(_equal(found.mean, n, units, both), mcnemar(units if found.mean else 0, 0), *counts, "sign")
    p = t_beyond(found.mean / found.se, units - 1)
    return Comparison(found, p, *counts, "paired t" if clusters is None else "paired t by cluster")


def _scores(a: Floats | Sequence[float], b: Floats | Sequence[float]) -> tuple[Floats, Floats]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(left) != len(right):
        raise UserError(
            f"Two models are compared on the same items, but one has {len(left)} scores and the other {len(right)}: "
            "score both on every item."
        )
    for scores in (left, right):
        if len(wrong := np.flatnonzero(~np.isfinite(scores))):
            raise UserError(
                f"A score must be a finite number; the one at index {wrong[0]} is {scores[wrong[0]]}: leave this item "
                "out of both lists."
            )
    return left, right


def _equal(mean: float, n: int, units: int, scores: Floats) -> Estimate:
    """Return the interval of a difference that is the same in all units."""
    if scores.min() < 0 or scores.max() > 1:
        return without_error(mean, n)
    if mean == 0:
        ends = matched_rates(0, 0, units)
        return Estimate(0.0, 0.0, n, ends.low, ends.high)
    return without_spread(mean, n, units, -1.0, 1.0)


def matched_rates(wins: int, losses: int, n: int) -> Estimate:
    """Return the difference of two rates of right answers to the same `n` questions, (wins - losses) / n.

    Its interval is Wald's after adding one win and one loss (Bonett and Price 2012, doi:10.3102/1076998611411915),
    recommended by Fagerland, Lydersen and Laake (2014, doi:10.1002/sim.6148); it is defined without wins and losses.
    """
    mean = (wins - losses) / n
    above, below = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    margin = NormalDist().inv_cdf(0.5 + LEVEL / 2) * math.sqrt((above + below - (above - below) ** 2) / (n + 2))
    se = math.sqrt(((wins + losses) / n - mean**2) / n)
    return Estimate(mean, se, n, max(-1.0, above - below - margin), min(1.0, above - below + margin))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return adjusted p values of several tasks, by name.

    If tasks below 5 % are called different, the probability that any of these calls is wrong is at most 5 %, whether
    the tasks are independent or not (Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure).
    """
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}
