"""Means of items that are not independent, such as questions about the same passage.

Takes a score and a cluster per item, and returns an `Estimate` whose error is by cluster: the plain one would be too
small, by a factor of three in some benchmarks (Miller 2024, arXiv 2411.00640).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.judge.statistics.estimate import Estimate, Floats, estimate, t_quantile, without_error, without_spread


def clustered(
    values: Floats | Sequence[float], clusters: Sequence[object], low: float = -math.inf, high: float = math.inf
) -> Estimate:
    """Return the mean of `values` with its cluster-robust error, clipped to the score's range from `low` to `high`.

    With residual sums u_g of G clusters of n items, the variance is G / (G - 1) * sum(u_g^2) / n^2 (CR1; Cameron and
    Miller 2015, A Practitioner's Guide to Cluster-Robust Inference), the interval is Student's t with G - 1 degrees of
    freedom. One item per cluster gives `student`. Below about 20 clusters of very different sizes it is too narrow.
    """
    data = np.asarray(values, dtype=np.float64)
    sums, sizes = cluster_sums(data, clusters)
    n, groups = len(data), len(sums)
    if groups < 2:
        return without_error(float(data.mean()) if n else math.nan, n)
    mean = float(data.mean())
    se = cluster_error(sums, sizes)
    if negligible(se, data):
        return without_spread(mean, n, groups, low, high)
    margin = t_quantile(groups - 1) * se
    return Estimate(mean, se, n, max(low, mean - margin), min(high, mean + margin))


def mean_of_items(
    values: Floats | Sequence[float], clusters: Sequence[object], low: float = -math.inf, high: float = math.inf
) -> Estimate:
    """Return the mean of items, with an error by cluster if several share one, for a score from `low` to `high`."""
    if len({*clusters}) < len(clusters):
        return clustered(values, clusters, low, high)
    return estimate(values, low, high)


def cluster_error(sums: Floats, sizes: Floats) -> float:
    """Return the CR1 error of the mean over all items, given each cluster's sum of scores and number of items."""
    return float(cluster_errors(sums[None], sizes[None])[0])


def cluster_errors(sums: Floats, sizes: Floats) -> Floats:
    """Return `cluster_error` of each row, for sums and sizes [R, G] of at least two clusters."""
    groups, n = sums.shape[1], sizes.sum(1)
    residual = sums - (sums.sum(1) / n)[:, None] * sizes
    return np.sqrt(groups / (groups - 1) * (residual**2).sum(1)) / n


def cluster_sums(values: Floats, clusters: Sequence[object] | None) -> tuple[Floats, Floats]:
    """Return each cluster's sum of values and number of items; every item is a cluster if `clusters` is None."""
    numbers = cluster_numbers(clusters, len(values))
    return np.bincount(numbers, values).astype(np.float64), np.bincount(numbers).astype(np.float64)


def cluster_numbers(clusters: Sequence[object] | None, n: int) -> NDArray[np.int64]:
    """Return the number of each item's cluster, in order of first appearance."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise UserError(f"Each item must have one cluster; got {len(clusters)} clusters for {n} items.")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[name] for name in clusters], np.int64)


def negligible(se: float, data: Floats) -> bool:
    """Tell whether an error is 0 apart from rounding."""
    return se <= 1e-12 * float(np.abs(data).max())
