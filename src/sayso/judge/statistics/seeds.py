"""Training runs of one recipe that differ only in the seed: what a new seed would score, and whether recipes differ.

Takes the score of each seed, and how exactly it was measured. Seeds are a random effect: their true scores vary by
`between`, on top of the error of measuring each (`within`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sayso.base.errors import UserError
from sayso.judge.statistics.clusters import cluster_error, cluster_errors, cluster_sums
from sayso.judge.statistics.distributions import t_beyond, t_limit
from sayso.judge.statistics.estimate import Estimate, Floats, without_error


@dataclass(frozen=True)
class Seeds:
    """A recipe over its seeds."""

    mean: Estimate
    """Mean over seeds, on these items; its `n` is the number of seeds."""
    between: float
    """Standard deviation of the true scores of seeds; NaN for a single seed."""
    within: float
    """Typical standard error of one seed's score."""
    new_low: float
    """Lower end of the 95 % interval for the true score of a new seed."""
    new_high: float
    """Upper end of the same interval."""


@dataclass(frozen=True)
class RecipeDifference:
    """Two recipes, A and B, each with several seeds."""

    difference: Estimate
    """Mean of A minus B; its `n` is the smaller number of seeds."""
    p: float
    """Probability of a difference at least as large between equal recipes; 1 if one has a single seed."""


def over_seeds(means: Floats | Sequence[float], errors: Floats | Sequence[float] | None = None) -> Seeds:
    """Summarize the scores of seeds [S] with their standard errors [S] (None: scores without error).

    The errors are those that are independent between seeds: with the same items for all seeds, use `crossed`, since an
    error of plain items counts their difficulty, which all seeds share, and makes `between` too small. `between` is by
    the method of moments (DerSimonian and Laird 1986), the interval of the mean by Hartung and Knapp (2001) with a
    factor of at least 1 (Röver, Knapp and Friede 2015), and the new seed's by Higgins et al. (2009) with S - 1
    degrees of freedom. With less than about 10 seeds `between` is itself uncertain, and often 0.
    """
    scores = np.asarray(means, np.float64)
    count = len(scores)
    error = np.zeros(count) if errors is None else np.asarray(errors, np.float64)
    if len(error) != count or (error < 0).any():
        raise UserError(f"Each of the {count} seeds needs one standard error of at least 0; got {error.tolist()}.")
    within = math.sqrt(float((error**2).mean())) if count else math.nan
    if count < 2:
        return Seeds(
            without_error(float(scores[0]) if count else math.nan, count), math.nan, within, math.nan, math.nan
        )
    between = math.sqrt(_moments(scores, error**2))
    variance = between**2 + error**2
    if not variance.all():  # equal scores without error
        return Seeds(without_error(float(scores.mean()), count), between, within, math.nan, math.nan)
    weight = 1 / variance
    mean = float((weight * scores).sum() / weight.sum())
    factor = max(1.0, float((weight * (scores - mean) ** 2).sum()) / (count - 1))
    se = math.sqrt(factor / float(weight.sum()))
    limit = t_limit(count - 1)
    spread = limit * math.hypot(between, se)
    found = Estimate(mean, se, count, mean - limit * se, mean + limit * se)
    return Seeds(found, between, within, mean - spread, mean + spread)


def _moments(scores: Floats, variance: Floats) -> float:
    """Return the variance between seeds, at least 0 (DerSimonian and Laird 1986, eq. 8)."""
    if not variance.all():  # the limit of equal weights
        return max(0.0, float(scores.var(ddof=1) - variance.mean()))
    weight = 1 / variance
    mean = (weight * scores).sum() / weight.sum()
    excess = float((weight * (scores - mean) ** 2).sum()) - (len(scores) - 1)
    return max(0.0, excess / float(weight.sum() - (weight**2).sum() / weight.sum()))


def crossed(scores: Floats | Sequence[Sequence[float]], clusters: Sequence[object] | None = None) -> Seeds:
    """Summarize scores of seeds on the same items [S, n], S and n at least 2.

    The error of a seed is what remains after removing the means of seeds and items (two-way analysis of variance
    without replication; Searle, Casella and McCulloch 1992, Variance Components): an item that is hard for all seeds
    makes none of them better. `clusters` names the passage of each item: what remains is then summed by passage (CR1,
    as in `clustered`), because a seed that is lucky with a passage is lucky with all of its items.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise UserError(f"Scores need a row per seed and a column per item, at least 2 of each; got {table.shape}.")
    means = table.mean(1)
    residual = table - means[:, None] - table.mean(0) + table.mean()
    sums, sizes = zip(*(cluster_sums(row, clusters) for row in residual), strict=True)
    if len(sizes[0]) < 2:
        raise UserError("Seeds are summarized on items of two or more passages; all of these belong to one.")
    errors = cluster_errors(np.stack(sums), np.stack(sizes))
    error = math.sqrt(float((errors**2).sum()) / (len(table) - 1))
    return over_seeds(means, np.full(len(table), error))


def compare_recipes(a: Seeds, b: Seeds) -> RecipeDifference:
    """Return the difference between two recipes and whether it is more than luck of the seeds.

    It is Welch's (1947) test with the errors of `over_seeds`: of the seeds' scores alone unless they vary less than
    their own errors.
    """
    mean, count = a.mean.mean - b.mean.mean, min(a.mean.n, b.mean.n)
    variances = a.mean.se**2, b.mean.se**2
    total = sum(variances)
    if not total > 0:  # a single seed, or no variation
        return RecipeDifference(without_error(mean, count), 1.0)
    df = total**2 / sum(v**2 / (one.mean.n - 1) for v, one in zip(variances, (a, b), strict=True))
    se = math.sqrt(total)
    margin = t_limit(df) * se
    return RecipeDifference(Estimate(mean, se, count, mean - margin, mean + margin), t_beyond(mean / se, df))


@dataclass(frozen=True)
class CrossedDifference:
    """Two recipes, each with several seeds, on the same items."""

    a: Seeds
    b: Seeds
    difference: Estimate
    """Mean of A minus B over seeds and items; its `n` is the number of items."""
    p: float
    """Probability of a difference at least as large between equal recipes."""
    of_seeds: float
    """Standard error that is due to the seeds."""
    of_items: float
    """Standard error that is due to the choice of items, beyond what the seeds explain."""


def compare_crossed(
    a: Floats | Sequence[Sequence[float]],
    b: Floats | Sequence[Sequence[float]],
    clusters: Sequence[object] | None = None,
) -> CrossedDifference:
    """Compare two recipes by the scores of their seeds on the same items, [S, n] and [R, n], at least 2 of each.

    Both seeds and items are sampled. The variance of the seeds' means is Welch's, without the lower bound of `crossed`,
    which would make the test of few seeds too careful. To it is added what the mean differences of the items vary by
    beyond the noise that both parts share: an item that suits one recipe is luck of the items. The sum is that of
    two-way clustering (Cameron, Gelbach and Miller 2011, doi:10.1198/jbes.2010.07136), the degrees of freedom are
    Satterthwaite's. `clusters` names the passage of each item.
    """
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if {left.ndim, right.ndim} == {2} and left.shape[1] != right.shape[1]:
        raise UserError(
            f"Recipes are compared on the same items, but one has {left.shape[1]} scores a seed and the other "
            f"{right.shape[1]}."
        )
    one, other = crossed(left, clusters), crossed(right, clusters)
    per_item = left.mean(0) - right.mean(0)
    sums, sizes = cluster_sums(per_item, clusters)
    units, mean = len(sums), float(per_item.mean())
    shared = one.within**2 / len(left) + other.within**2 / len(right)  # in both parts: seeds by items
    items = max(0.0, cluster_error(sums, sizes) ** 2 - shared)
    seeds = [(float(table.mean(1).var(ddof=1)) / len(table), len(table) - 1) for table in (left, right)]
    parts = [*seeds, (items, units - 1)]
    known = [(variance, df) for variance, df in parts if variance > 0]
    if not known:
        return CrossedDifference(one, other, without_error(mean, left.shape[1]), 1.0, 0.0, 0.0)
    total = sum(variance for variance, _ in known)
    df = total**2 / sum(variance**2 / free for variance, free in known)
    se = math.sqrt(total)
    margin = t_limit(df) * se
    found = Estimate(mean, se, left.shape[1], mean - margin, mean + margin)
    return CrossedDifference(one, other, found, t_beyond(mean / se, df), math.sqrt(total - items), math.sqrt(items))
