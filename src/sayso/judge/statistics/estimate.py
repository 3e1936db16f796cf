"""Means of scores with their standard error and 95 % confidence interval.

Takes a list of numbers (one per question or document), returns an `Estimate`. Binary data gets Wilson's interval (it
stays inside [0, 1] and is valid for 0 of n), other data Student's t. Two models that answered the same questions are
compared question by question: `paired`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean of `n` items, its standard error, and the ends of its 95 % interval (NaN if the items do not tell)."""

    mean: float
    se: float
    n: int
    low: float
    high: float

    def interval(self, form: str = ".3f") -> str:
        """Return the interval in words, each end in a format, such as "0.120 to 0.340"; "" if there is none."""
        return "" if math.isnan(self.low) else f"{self.low:{form}} to {self.high:{form}}"

    def as_dict(self) -> dict[str, float | int | None]:
        """Return JSON-ready data, with null for NaN."""
        return {key: None if value != value else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Estimate":
        """Return the estimate of a dict from `as_dict`; other keys are ignored."""
        known = {key: math.nan if data[key] is None else float(data[key]) for key in cls.__dataclass_fields__}
        return cls(known["mean"], known["se"], int(known["n"]), known["low"], known["high"])


def estimate(values: Floats | Sequence[float], low: float = -math.inf, high: float = math.inf) -> Estimate:
    """Return the mean of `values`, with its interval clipped to the score's range from `low` to `high`."""
    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    if n == 0:
        return without_error(math.nan, 0)
    mean = float(data.mean())
    if np.isin(data, (0.0, 1.0)).all():
        return Estimate(mean, math.sqrt(mean * (1 - mean) / n), n, *wilson(mean, n))
    if data.min() == data.max() and (low, high) == (0.0, 1.0):
        return without_spread(mean, n, n, low, high)
    return student(data, low, high)


def student(data: Floats, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """Return the mean with Student's t interval, clipped to the range from `low` to `high`."""
    n = len(data)
    if n < 2:
        return without_error(float(data[0]) if n else math.nan, n)
    mean, se = float(data.mean()), float(data.std(ddof=1)) / math.sqrt(n)
    margin = t_quantile(n - 1) * se
    return Estimate(mean, se, n, max(low, mean - margin), min(high, mean + margin))


def paired(a: Floats | Sequence[float], b: Floats | Sequence[float]) -> Estimate:
    """Return the mean of a[i] - b[i] over the same items, whose difficulty cancels (Miller 2024, arXiv 2411.00640)."""
    assert len(a) == len(b), f"paired: {len(a)} items against {len(b)}"
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return student(difference)


def of_sums(n: int, total: float, squares: float, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """Return the mean of `n` values from their sum and the sum of their squares, with the interval of `student`.

    That of equal values is `without_spread`. The squares must not be much larger than their spread, which would be lost
    in rounding: seconds, not dates.
    """
    if n < 2:
        return without_error(total / n if n else math.nan, n)
    mean = total / n
    spread = squares - n * mean * mean
    if spread <= 1e-12 * abs(squares):
        return without_spread(mean, n, n, low, high)
    se = math.sqrt(spread / (n - 1) / n)
    margin = t_quantile(n - 1) * se
    return Estimate(mean, se, n, max(low, mean - margin), min(high, mean + margin))


def proportion(count: int, n: int) -> Estimate:
    """Return the share of `count` in `n` items, with Wilson's interval."""
    if n == 0:
        return without_error(math.nan, 0)
    rate = count / n
    return Estimate(rate, math.sqrt(rate * (1 - rate) / n), n, *wilson(rate, n))


def ratio(amounts: Floats | Sequence[float], sizes: Floats | Sequence[float]) -> Estimate:
    """Return sum(amounts) / sum(sizes), such as bits per byte, with documents as the sampled unit.

    The standard error is by linearization (Cochran, Sampling Techniques, 3rd ed., eq. 6.13).
    """
    top, bottom = np.asarray(amounts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    n = len(top)
    if n == 0 or bottom.sum() == 0:
        return without_error(math.nan, n)
    mean = float(top.sum() / bottom.sum())
    if n == 1:
        return without_error(mean, 1)
    residual = top - mean * bottom
    se = math.sqrt(float((residual**2).sum()) / (n * (n - 1))) / float(bottom.mean())
    margin = t_quantile(n - 1) * se
    return Estimate(mean, se, n, mean - margin, mean + margin)


def without_error(mean: float, n: int) -> Estimate:
    """Return an estimate without error and interval."""
    return Estimate(mean, math.nan, n, math.nan, math.nan)


def without_spread(mean: float, n: int, units: int, low: float, high: float) -> Estimate:
    """Return the mean of `n` equal items in `units` independent groups, for a score from `low` to `high`.

    Their sample variance is 0, which would claim certainty. On a finite range, scores with a given mean vary most if
    all are `low` or `high`, so the interval is Wilson's. On an infinite range there is no bound: the ends are NaN.
    """
    if math.isinf(low) or math.isinf(high):
        return without_error(mean, n)
    width = high - low
    rate = min(1.0, max(0.0, (mean - low) / width))
    ends = wilson(rate, units)
    return Estimate(mean, width * math.sqrt(rate * (1 - rate) / units), n, low + width * ends[0], low + width * ends[1])


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the unweighted mean of independent estimates (over families), whatever their n.

    Its interval is made of theirs (MOVER; Zou and Donner 2008, doi:10.1002/sim.3095), so that 0 of n in every family
    does not claim certainty: the distance to an end is the root of the sum of the squared distances, over their number.
    """
    if not estimates:
        return without_error(math.nan, 0)
    count = len(estimates)
    mean = sum(e.mean for e in estimates) / count
    se = math.sqrt(sum(e.se**2 for e in estimates)) / count
    below = math.sqrt(sum((e.mean - e.low) ** 2 for e in estimates)) / count
    above = math.sqrt(sum((e.high - e.mean) ** 2 for e in estimates)) / count
    return Estimate(mean, se, sum(e.n for e in estimates), mean - below, mean + above)


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    center = (rate + z * z / (2 * n)) / (1 + z * z / n)
    margin = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (0.0 if rate == 0 else max(0.0, center - margin)), (1.0 if rate == 1 else min(1.0, center + margin))


def exact_proportion(successes: int, n: int) -> Estimate:
    """Return a proportion with its exact binomial interval (Clopper and Pearson 1934)."""
    if n == 0:
        return without_error(math.nan, 0)
    rate = successes / n
    low, high = _lower_end(successes, n), 1 - _lower_end(n - successes, n)
    return Estimate(rate, math.sqrt(rate * (1 - rate) / n), n, low, high)


def sign_test(successes: int, n: int) -> float:
    """Return the two-sided p-value of `successes` of n against a rate of 1/2, by the binomial distribution."""
    return min(1.0, 2 * binomial_tail(max(successes, n - successes), n, 0.5))


def binomial_tail(k: int, n: int, rate: float) -> float:
    """Return P(X >= k) for X of the binomial distribution, with 0 < rate < 1.

    Not scipy's, since this module works without the extra `judge`, as does `sayso judge`, which uses this.
    """
    logs = (math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k, n + 1))
    terms = (log + i * math.log(rate) + (n - i) * math.log1p(-rate) for i, log in enumerate(logs, k))
    return min(1.0, math.fsum(map(math.exp, terms)))


def _lower_end(k: int, n: int) -> float:
    """Return the rate for which at least k of n have a probability of 2.5 %, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50 if k else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(k, n, middle) < (1 - LEVEL) / 2 else (low, middle)
    return low


@cache
def t_quantile(df: int) -> float:
    """Return the t with P(|T| < t) = 0.95 for integer degrees of freedom, by bisection.

    From 100 on by the expansion of Abramowitz and Stegun 26.7.5, whose error is below 1e-9 there.
    """
    if df >= 100:
        return _expanded(NormalDist().inv_cdf(0.5 + LEVEL / 2), df)
    low, high = 0.0, 1.0
    while t_inside(high, df) < LEVEL:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_inside(middle, df) < LEVEL else (low, middle)
    return (low + high) / 2


def _expanded(z: float, df: int) -> float:
    """Return Student's quantile from that of the normal distribution, up to the fourth power of 1 / df."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df**power for power, term in enumerate(terms, 1))


def t_inside(t: float, df: int) -> float:
    """Return P(|T| < t) by the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    if df % 2 == 0:
        k = np.arange(1, df // 2)
        return sine * float(1 + np.cumprod((2 * k - 1) / (2 * k) * cosine**2).sum())
    if df == 1:
        return 2 * angle / math.pi
    k = np.arange(1, (df - 1) // 2)
    return 2 / math.pi * (angle + sine * cosine * float(1 + np.cumprod(2 * k / (2 * k + 1) * cosine**2).sum()))
