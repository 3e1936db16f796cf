"""How good stated confidences are: calibration, ranking, and what remains wrong if the least sure answers are withheld.

Takes the confidence of each answer, from 0 to 1, and whether it was right, both [n]; returns errors and curves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sayso.judge.statistics.agreement import Bin, of_ratings
from sayso.judge.statistics.bootstrap import bootstrap
from sayso.judge.statistics.estimate import Estimate, Floats, estimate, wilson, without_error

BINS = 15
_RESAMPLES = 999
Values = Floats | Sequence[float]


@dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong answers among those given, if only the surest are."""

    coverage: Floats
    """Share of the answers that are given, [n], from 1/n to 1."""
    risk: Floats
    """Share of these that are wrong, [n]; where confidences are equal, the mean over their orders."""

    @property
    def area(self) -> float:
        """The mean of the risk over all coverages (AURC; Geifman and El-Yaniv 2017), NaN without answers."""
        return float(self.risk.mean()) if len(self.risk) else math.nan


def equal_mass(confidence: Values, right: Values, bins: int = BINS) -> list[Bin]:
    """Return bins with about equally many answers, in order; equal confidences share a bin."""
    said, was = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not len(said):
        return []
    order = np.lexsort((was, said))
    said, was = said[order], was[order]
    _, own, counts = np.unique(said, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    index = np.minimum((middle * bins / len(said)).astype(int), bins - 1)[own]
    return [
        Bin(float(said[index == i].mean()), float(was[index == i].mean()), int((index == i).sum()))
        for i in np.unique(index)
    ]


def squared_error(bins: Sequence[Bin], *, debiased: bool = True) -> float:
    """Return the mean over bins of (said - was)^2, weighted by size.

    The plain value is too large, because the frequency of a bin varies even if its confidence is right. The debiased
    one subtracts was (1 - was) / (n - 1) in each bin, and so is 0 on average for a calibrated forecast, and may be
    negative (Kumar, Liang and Ma 2019, arXiv 1909.10155). A bin of one answer has no variance to subtract and is left
    out of the debiased value.
    """
    used = [one for one in bins if one.n > 1] if debiased else list(bins)
    total = sum(one.n for one in used)
    if not total:
        return math.nan
    gaps = [(one.said - one.was) ** 2 - (one.was * (1 - one.was) / (one.n - 1) if debiased else 0) for one in used]
    return sum(one.n * gap for one, gap in zip(used, gaps, strict=True)) / total


def rms_error(bins: Sequence[Bin]) -> float:
    """Return the root of the debiased `squared_error`, 0 where that is negative."""
    squared = squared_error(bins)
    return math.nan if math.isnan(squared) else math.sqrt(max(0.0, squared))


def sweep_bins(confidence: Values, right: Values) -> list[Bin]:
    """Return the largest number of equal-mass bins whose frequencies rise with the confidence.

    The calibration error over them has less bias than with a fixed number (Roelofs et al. 2022, arXiv 2012.08668).
    """
    best = equal_mass(confidence, right, 1)
    for count in range(2, len(np.unique(np.asarray(confidence))) + 1):
        found = equal_mass(confidence, right, count)
        if any(one.was > other.was for one, other in pairwise(found)):
            break
        best = found
    return best


def brier(confidence: Values, right: Values) -> Estimate:
    """Return the mean of (confidence - right)^2 (Brier 1950) with its interval; lower is better."""
    return estimate((np.asarray(confidence, np.float64) - np.asarray(right, np.float64)) ** 2, low=0, high=1)


def auroc(confidence: Values, right: Values) -> Estimate:
    """Return how often a right answer has the higher confidence than a wrong one; a tie counts half.

    If it always or never has, the interval is Wilson's over the rarer kind.
    """
    found = of_ratings(confidence, right, range(len(confidence))).estimate()
    if found.se != 0:
        return found
    wrong = int((np.asarray(right) == 0).sum())
    low, high = wilson(found.mean, min(wrong, found.n - wrong))
    return replace(found, low=low, high=high)


def risk_coverage(confidence: Values, right: Values) -> RiskCoverage:
    """Return the curve of a selective classifier, from the surest answer alone to all answers."""
    said, wrong = np.asarray(confidence, np.float64), 1 - np.asarray(right, np.float64)
    _, own, counts = np.unique(-said, return_inverse=True, return_counts=True)
    mean = np.bincount(own, wrong, minlength=len(counts)) / counts
    answered = np.arange(1, len(said) + 1, dtype=np.float64)
    return RiskCoverage(answered / max(1, len(said)), np.cumsum(np.repeat(mean, counts)) / answered)


def aurc(confidence: Values, right: Values, seed: int = 0) -> Estimate:
    """Return the area under the curve of risk and coverage with a bootstrap interval; lower is better.

    Raises `UserError` if scipy is missing.
    """
    data = np.stack([np.asarray(confidence, np.float64), np.asarray(right, np.float64)], axis=1)
    if len(data) < 2:
        return without_error(risk_coverage(data[:, 0], data[:, 1]).area, len(data))

    def area(rows: Floats) -> float:
        return risk_coverage(rows[:, 0], rows[:, 1]).area

    return bootstrap(data, np.random.default_rng(seed), area, resamples=_RESAMPLES, low=0, high=1)
