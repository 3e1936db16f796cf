"""Agreement of scores with human labels: which of two replies is better, or how good a single reply is.

Takes scores and labels; returns accuracies with confidence intervals. Items of one prompt or conversation are not
independent, so intervals are from a jackknife that leaves out one group at a time (Efron 1982). The leave-one-out
values are kept, so that two judges of the same items can be compared by group. N comparisons, R ratings, G groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sayso.judge.statistics.clusters import cluster_numbers
from sayso.judge.statistics.estimate import Estimate, Floats, t_quantile, wilson, without_error


@dataclass(frozen=True)
class Agreement:
    """An accuracy and its leave-one-group-out values."""

    value: float
    """Fraction of correct answers."""
    without: Floats
    """The same fraction without each group, [G]; NaN if nothing is left to compare."""
    n: int
    """Number of items."""

    def estimate(self) -> Estimate:
        """Return the accuracy with its jackknife error; without variation, the interval is Wilson's over the groups.

        If it depends on a single group whether there is anything to compare, there is no error and no interval.
        """
        groups = len(self.without)
        if groups < 2 or not np.isfinite([self.value, *self.without]).all():
            return without_error(self.value, self.n)
        se = _jackknife_error(self.without)
        if se == 0:
            return Estimate(self.value, 0.0, self.n, *wilson(self.value, groups))
        margin = t_quantile(groups - 1) * se
        return Estimate(self.value, se, self.n, max(0.0, self.value - margin), min(1.0, self.value + margin))

    def above(self, other: "Agreement") -> Estimate:
        """Return the difference between this accuracy and another one on the same items and groups."""
        assert len(self.without) == len(other.without), "the groups differ"
        groups, mean = len(self.without), self.value - other.value
        if groups < 2:
            return without_error(mean, self.n)
        se = _jackknife_error(self.without - other.without)
        margin = t_quantile(groups - 1) * se
        return Estimate(mean, se, self.n, mean - margin, mean + margin)


def _jackknife_error(without: Floats) -> float:
    groups = len(without)
    return math.sqrt((groups - 1) / groups * float(((without - without.mean()) ** 2).sum()))


def of_comparisons(differences: Sequence[float] | Floats, groups: Sequence[object]) -> Agreement:
    """Return the fraction of correct comparisons, given score differences [N], better minus worse; 0 counts half."""
    correct = np.sign(np.asarray(differences, np.float64)) / 2 + 0.5
    numbers = cluster_numbers(groups, len(correct))
    count = int(numbers.max(initial=-1)) + 1
    per_group, correct_per_group = np.bincount(numbers, minlength=count), np.bincount(numbers, correct, minlength=count)
    with np.errstate(invalid="ignore"):
        without = (correct.sum() - correct_per_group) / (len(correct) - per_group)
    return Agreement(float(correct.mean()) if len(correct) else math.nan, without, len(correct))


def of_ratings(
    scores: Sequence[float] | Floats, ratings: Sequence[float] | Floats, groups: Sequence[object]
) -> Agreement:
    """Return how often the better rated of two replies with different ratings has the higher score, for scores [R].

    For ratings of good and bad, this is the area under the ROC curve.
    """
    score, rating = np.asarray(scores, np.float64), np.asarray(ratings, np.float64)
    numbers = cluster_numbers(groups, len(score))
    count = int(numbers.max(initial=-1)) + 1
    correct = pairs = 0.0
    correct_of, pairs_of = np.zeros(count), np.zeros(count)  # pairs that involve a group
    for own in range(count):  # a group's rows against all rows, to limit memory
        mine = numbers == own
        order = np.sign(rating[mine, None] - rating[None])
        right = (np.sign(score[mine, None] - score[None]) * order / 2 + 0.5) * (order != 0)
        inside_correct, inside_pairs = right[:, mine].sum() / 2, (order[:, mine] != 0).sum() / 2  # counted twice
        correct_of[own], pairs_of[own] = right.sum() - inside_correct, (order != 0).sum() - inside_pairs
        correct, pairs = correct + right.sum() / 2, pairs + float((order != 0).sum()) / 2
    if not pairs:
        return Agreement(math.nan, np.zeros(0), len(score))
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (correct - correct_of) / (pairs - pairs_of)
    return Agreement(correct / pairs, without, len(score))


@dataclass(frozen=True)
class Bin:
    """Predictions of similar probability, with the frequency of the outcome."""

    said: float
    """Mean predicted probability."""
    was: float
    """Observed frequency."""
    n: int
    """Number of predictions."""


def reliability(
    probabilities: Sequence[float] | Floats, outcomes: Sequence[float] | Floats, bins: int = 10
) -> list[Bin]:
    """Return the nonempty bins of equal width over [0, 1]; outcomes are 0, 1, or 0.5."""
    predicted, observed = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    index = np.minimum((predicted * bins).astype(int), bins - 1)
    parts = [(predicted[index == i], observed[index == i]) for i in range(bins)]
    return [Bin(float(p.mean()), float(o.mean()), len(p)) for p, o in parts if len(p)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean of |predicted - observed| (Guo et al. 2017)."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.said - one.was) for one in bins) / total if total else math.nan


def correlation(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Return Pearson's correlation; NaN if one is constant."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])
