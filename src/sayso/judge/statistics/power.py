"""How large a difference an evaluation can see, and how many items one needs to see a given difference.

Takes the standard deviation of the per-item differences between two models on the same items (`paired`), or of the
scores of either model on items of its own. Right or wrong answers need the rate at which the models disagree.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from sayso.base.errors import UserError
from sayso.judge.statistics.distributions import t_power

MOST = 10**12
"""No more items than this are considered."""


@dataclass(frozen=True)
class Goal:
    """What a test promises."""

    alpha: float = 0.05
    """Probability of calling equal models different."""
    power: float = 0.8
    """Probability of seeing a difference that is there."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < self.power < 1:
            raise UserError(
                f"alpha is above 0 and below the power, and power below 1; got alpha {self.alpha}, power {self.power}."
            )

    def quantiles(self) -> tuple[float, float]:
        """Return the normal quantiles of alpha (two-sided) and of the power."""
        normal = NormalDist()
        return normal.inv_cdf(1 - self.alpha / 2), normal.inv_cdf(self.power)


USUAL = Goal()


def power_of(difference: float, spread: float, n: int, alpha: float = 0.05, paired: bool = True) -> float:
    """Return the probability that a t test at level `alpha` sees a true difference.

    `spread` is the standard deviation of the differences of `n` items, or if not `paired`, of the scores of each model
    on its own `n` items.
    """
    _check(spread, n)
    error, df = (spread / math.sqrt(n), n - 1) if paired else (spread * math.sqrt(2 / n), 2 * n - 2)
    return t_power(abs(difference) / error, df, alpha)


def smallest_difference(spread: float, n: int, goal: Goal = USUAL, paired: bool = True) -> float:
    """Return the true difference that a t test sees with the goal's power, for the arguments of `power_of`."""
    _check(spread, n)

    def enough(difference: float) -> bool:
        return power_of(difference, spread, n, goal.alpha, paired) >= goal.power

    high = spread
    while not enough(high):
        high *= 2
    return _least(enough, 0.0, high)


def needed_items(difference: float, spread: float, goal: Goal = USUAL, paired: bool = True) -> int:
    """Return how many items a t test needs to see a true difference, for the arguments of `power_of`.

    Paired, this is the n of Miller (2024, arXiv 2411.00640, section 5) with t instead of normal quantiles, for
    `spread_of_samples`.
    """
    return _items(lambda n: power_of(difference, spread, n, goal.alpha, paired) >= goal.power, difference)


def spread_of_samples(questions: float, a: float, b: float, samples_a: int = 1, samples_b: int = 1) -> float:
    """Return the standard deviation of differences between means of several sampled answers to each question.

    `questions` is the variance over questions of the difference between the models' expected scores, Var(A) + Var(B)
    - 2 Cov(A, B); `a` and `b` are the variances of a model's scores within a question, averaged over questions; the
    variance is questions + a / samples_a + b / samples_b (Miller 2024, section 5).
    """
    return math.sqrt(questions + a / samples_a + b / samples_b)


def needed_questions(difference: float, disagree: float, goal: Goal = USUAL) -> int:
    """Return how many right-or-wrong questions McNemar's test needs to see a difference of two rates.

    `disagree` is the fraction of questions that exactly one of the models answers correctly. The formula is that of
    Connor (1987, Sample Size for Testing Differences in Proportions for the Paired-Sample Design).
    """
    _check_rates(difference, disagree)
    return _items(lambda n: _connor(difference, disagree, n, goal), difference)


def smallest_rate_difference(disagree: float, n: int, goal: Goal = USUAL) -> float:
    """Return the difference of two rates that McNemar's test sees in `n` questions, for a rate of disagreement.

    It is infinite if even models whose disagreements all have the same winner would be missed.
    """
    _check_rates(0.0, disagree)
    if not _connor(disagree, disagree, n, goal):
        return math.inf
    return _least(lambda difference: _connor(difference, disagree, n, goal), 0.0, disagree)


def _connor(difference: float, disagree: float, n: int, goal: Goal) -> bool:
    level, power = goal.quantiles()
    alike = level * math.sqrt(disagree)
    return abs(difference) * math.sqrt(n) >= alike + power * math.sqrt(max(0.0, disagree - difference**2))


def _items(enough: Callable[[int], bool], difference: float) -> int:
    if difference == 0:
        raise UserError("A difference of 0 cannot be seen with any number of items: give the smallest one of interest.")
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            raise UserError(f"A difference of {difference} needs more than {MOST:.0e} items: give a larger one.")
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(spread: float, n: int) -> None:
    if not spread > 0:
        raise UserError(f"The standard deviation is above 0; got {spread}.")
    if n < 2:
        raise UserError(f"A t test needs at least 2 items; got {n}.")


def _check_rates(difference: float, disagree: float) -> None:
    if not abs(difference) <= disagree <= 1 or disagree == 0:
        raise UserError(
            f"The rate of disagreement is above 0, at most 1, and at least the difference; got {disagree} for a "
            f"difference of {difference}."
        )
