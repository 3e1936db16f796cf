"""Agreement of scores with human labels: which of two replies is better, or how good a single reply is.

Takes scores and labels; returns shares with intervals. Items of one prompt or conversation are not independent,
so every interval is a jackknife that leaves out one group at a time (Efron 1982); the leave-one-out
values are kept, so that two judges of the same items are compared group by group. N comparisons, R ratings, G groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.judge.stats import Estimate, Floats, t_quantile, wilson, without_error


@dataclass(frozen=True)
class Agreement:
    """A share of correct answers, and its leave-one-group-out values."""

    value: float
    without: Floats
    """[G]"""
    n: int
    """Number of items."""

    def estimate(self) -> Estimate:
        """Return the share with its jackknife error; without variation, the interval is Wilson's over the groups."""
        groups = len(self.without)
        if groups < 2 or math.isnan(self.value):
            return without_error(self.value, self.n)
        se = math.sqrt((groups - 1) / groups * float(((self.without - self.without.mean()) ** 2).sum()))
        if se == 0:
            return Estimate(self.value, 0.0, self.n, *wilson(self.value, groups))
        reach = t_quantile(groups - 1) * se
        return Estimate(self.value, se, self.n, max(0.0, self.value - reach), min(1.0, self.value + reach))

    def above(self, other: "Agreement") -> Estimate:
        """Return the difference of this share and another one of the same items and groups."""
        assert len(self.without) == len(other.without), "the same groups"
        groups, difference = len(self.without), self.without - other.without
        mean = self.value - other.value
        if groups < 2:
            return without_error(mean, self.n)
        se = math.sqrt((groups - 1) / groups * float(((difference - difference.mean()) ** 2).sum()))
        reach = t_quantile(groups - 1) * se
        return Estimate(mean, se, self.n, mean - reach, mean + reach)


def of_comparisons(differences: Sequence[float] | Floats, groups: Sequence[object]) -> Agreement:
    """Return the share of correct comparisons, given score differences [N], better minus worse; 0 counts half."""
    right = np.sign(np.asarray(differences, np.float64)) / 2 + 0.5
    place, count = _places(groups)
    total, of_group = np.bincount(place, minlength=count), np.bincount(place, right, minlength=count)
    with np.errstate(invalid="ignore"):
        without = (right.sum() - of_group) / (len(right) - total)
    return Agreement(float(right.mean()) if len(right) else math.nan, without, len(right))


def of_ratings(
    scores: Sequence[float] | Floats, ratings: Sequence[float] | Floats, groups: Sequence[object]
) -> Agreement:
    """Return how often, of two replies with different ratings, the better rated one has the higher score [R].

    For ratings of good and bad that is the area under the ROC curve. Of two in one group each counts there once.
    """
    score, rating = np.asarray(scores, np.float64), np.asarray(ratings, np.float64)
    place, count = _places(groups)
    right = apart = 0.0
    right_of, apart_of = np.zeros(count), np.zeros(count)  # pairs that involve a group
    for own in range(count):  # a group's rows against all: memory for R at a time
        mine = place == own
        judged = np.sign(rating[mine, None] - rating[None])
        fits = (np.sign(score[mine, None] - score[None]) * judged / 2 + 0.5) * (judged != 0)
        inside_right, inside_apart = fits[:, mine].sum() / 2, (judged[:, mine] != 0).sum() / 2
        right_of[own], apart_of[own] = fits.sum() - inside_right, (judged != 0).sum() - inside_apart
        right, apart = right + fits.sum() / 2, apart + float((judged != 0).sum()) / 2
    if not apart:
        return Agreement(math.nan, np.zeros(0), len(score))
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (right - right_of) / (apart - apart_of)
    return Agreement(right / apart, without[np.isfinite(without)], len(score))


@dataclass(frozen=True)
class Bin:
    """Predictions of similar probability, and how often they came true."""

    said: float
    """Mean predicted probability."""
    was: float
    n: int


def reliability(
    probabilities: Sequence[float] | Floats, outcomes: Sequence[float] | Floats, bins: int = 10
) -> list[Bin]:
    """Return the nonempty bins of equal width over [0, 1]; outcomes are 0, 1, or 0.5."""
    said, was = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    place = np.minimum((said * bins).astype(int), bins - 1)
    chosen = [(said[place == i], was[place == i]) for i in range(bins)]
    return [Bin(float(s.mean()), float(w.mean()), len(s)) for s, w in chosen if len(s)]


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


def _places(groups: Sequence[object]) -> tuple[NDArray[np.int64], int]:
    """Return the group number of each item, and the number of groups."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], np.int64), len(numbers)
