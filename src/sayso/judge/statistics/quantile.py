"""Quantiles of a distribution, such as the 99th percentile of a latency, from counted values.

Takes how many times each value occurred, so that the counts of several hours can be added up; returns an `Estimate`,
whose interval assumes nothing about the distribution.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from statistics import NormalDist

from sayso.judge.statistics.estimate import LEVEL, Estimate, without_error


def quantile(counts: Mapping[float, int], share: float) -> Estimate:
    """Return the smallest value that at least `share` (between 0 and 1) of all values do not exceed.

    The ends of its interval are values too: those whose ranks are `share` of n, plus and minus 1.96 standard deviations
    of the number of values below it, rounded up (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2). It
    has none (NaN) if there are too few values for an end: above the 99th percentile, fewer than 381.
    """
    values = sorted(counts)
    ends = list(accumulate(counts[value] for value in values))
    n = ends[-1] if ends else 0
    if n == 0:
        return without_error(math.nan, 0)

    def at(rank: int) -> float:
        """Return the value of a rank, from 1 to n."""
        return values[bisect_left(ends, rank)]

    found = at(max(1, math.ceil(n * share - 1e-9)))
    margin = NormalDist().inv_cdf(0.5 + LEVEL / 2) * math.sqrt(n * share * (1 - share))
    low, high = (math.ceil(n * share + side) for side in (-margin, margin))
    if low < 1 or high > n:
        return without_error(found, n)
    return Estimate(found, math.nan, n, at(low), at(high))
