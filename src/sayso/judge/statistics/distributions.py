"""Probabilities of Student's t and the binomial distribution, from scipy.

The only file that imports scipy (extra `judge`), on first use.
"""

from types import ModuleType

from sayso.base.errors import require
from sayso.judge.statistics.estimate import LEVEL


def scipy_stats() -> ModuleType:
    """Return `scipy.stats`; raises `UserError` with the install command if scipy is missing."""
    return require("scipy.stats", "judge")


def t_beyond(t: float, df: float) -> float:
    """Return P(|T| > |t|), the two-sided p value of Student's t with any degrees of freedom above 0."""
    return float(2 * _special().stdtr(df, -abs(t)))


def t_limit(df: float, inside: float = LEVEL) -> float:
    """Return the t with P(|T| < t) = `inside`, for any degrees of freedom above 0."""
    return float(_special().stdtrit(df, 0.5 + inside / 2))


def t_power(shift: float, df: float, alpha: float) -> float:
    """Return the probability that a two-sided t test at level `alpha` rejects.

    `shift`: the true difference over its standard error, the noncentrality of T.
    """
    limit, cumulated = t_limit(df, 1 - alpha), _special().nctdtr
    opposite = float(cumulated(df, shift, -limit)) if shift < 8 else 0.0  # below 1e-14, and often NaN
    return 1 - float(cumulated(df, shift, limit)) + opposite


def mcnemar(wins: int, losses: int, mid: bool = True) -> float:
    """Return the p value of McNemar's test that an item is as likely to be a win as a loss.

    `mid` counts half of the probability of the observed table. The mid-p test is less conservative than the exact
    conditional test, and kept its level in all 9,595 settings tried by Fagerland, Lydersen and Laake (2013,
    doi:10.1186/1471-2288-13-91). Without wins and losses, p is 1.
    """
    n, fewer = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    at_most = float(_special().bdtr(fewer, n, 0.5))
    below = float(_special().bdtr(fewer - 1, n, 0.5)) if fewer else 0.0
    return min(1.0, at_most + (below if mid else at_most))


def _special() -> ModuleType:
    return require("scipy.special", "judge")
