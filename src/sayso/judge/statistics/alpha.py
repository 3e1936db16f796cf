"""Krippendorff's alpha: how far annotators agree beyond chance.

Takes verdicts by item, returns alpha with a bootstrap interval over items. 1 is full agreement, 0 what chance gives,
and below 0 annotators contradict each other. Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". n
items, V values.
"""

import math
from collections.abc import Sequence

import numpy as np

from sayso.judge.statistics.estimate import LEVEL, Estimate, Floats, without_error

RESAMPLES = 2_000
_AT_ONCE = 2_000_000  # counts of items in resamples drawn at a time, to limit memory


def alpha(verdicts: Sequence[Sequence[float]], generator: np.random.Generator) -> Estimate:
    """Return alpha of numbers at the interval level, where a difference counts by its square.

    `verdicts` has those of each item; items with fewer than two do not count, and `n` is the number of the others. The
    interval is that of the percentiles when items are drawn again; its ends are NaN for a single item. Alpha is NaN if
    all verdicts are the same one, since then nothing can be told from chance.
    """
    paired = [list(one) for one in verdicts if len(one) > 1]
    values = np.unique([value for one in paired for value in one])
    if not paired:
        return without_error(math.nan, 0)
    counts = np.stack([(np.asarray(one)[:, None] == values).sum(0) for one in paired]).astype(np.float64)  # [n, V]
    distances = (values[:, None] - values) ** 2
    whole = _alphas(np.ones((1, len(paired))), counts, distances)[0]
    if len(paired) < 2 or math.isnan(whole):
        return without_error(float(whole), len(paired))
    chance = np.full(len(paired), 1 / len(paired))
    drawn, step = list[Floats](), max(1, _AT_ONCE // len(paired))
    for start in range(0, RESAMPLES, step):
        weights = generator.multinomial(len(paired), chance, size=min(step, RESAMPLES - start))
        drawn.append(_alphas(weights.astype(np.float64), counts, distances))
    found = np.concatenate(drawn)
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(found) else (math.nan, math.nan)
    return Estimate(float(whole), float(found.std()), len(paired), float(low), float(high))


def _alphas(weights: Floats, counts: Floats, distances: Floats) -> Floats:
    """Return alpha, [R], when items count `weights` times, [R, n]; `counts` has how often each value was given, [n, V].

    1 - observed / expected disagreement. An item with m verdicts contributes each of its m (m - 1) ordered pairs with
    weight 1 / (m - 1).
    """
    sizes = counts.sum(1)
    own = np.einsum("nv,vw,nw->n", counts, distances, counts) / (sizes - 1)
    total, totals = weights @ sizes, weights @ counts
    expected = np.einsum("rv,vw,rw->r", totals, distances, totals) / (total - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - weights @ own / expected, np.nan)
