"""Tests that may be looked at after every observation: e-processes.

Their values are logs of bets against a hypothesis. If it holds, the bet's expected value is at most 1 whenever one
stops, so it ever exceeds 1 / alpha with a probability of at most alpha (Ville 1939; Grünwald, de Heide and Koolen
2024, arXiv 1906.07801). An ordinary test at 5 % that is looked at every day is wrong far more often than that.

Arguments are counts, or arrays of them that are computed at once.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sayso.base.errors import UserError

Floats = NDArray[np.float64]
_POINTS = 24  # values of a rate that are bet on, evenly spaced
_RATES = (np.arange(_POINTS) + 0.5) / _POINTS
_PRIOR = 20.0  # observations that the assumed shares are worth in `log_e_shares`


def log_e_preferred(wins: ArrayLike, losses: ArrayLike) -> Any:
    """Return the log of the evidence that one of two models is preferred more often than not; ties do not count.

    The hypothesis is that it wins at most half of the comparisons. The bet is spread evenly over the rates above.
    """
    won, lost = _counts(wins, losses)
    rates = _RATES[_RATES > 0.5]
    logs = won[..., None] * np.log(2 * rates) + lost[..., None] * np.log(2 * (1 - rates))
    return _mean(logs)


def log_e_higher(right_a: ArrayLike, right_b: ArrayLike, blocks: ArrayLike, *, block: tuple[int, int] = (1, 1)) -> Any:
    """Return the log of the evidence that the rate of B is above that of A, each on observations of its own.

    The hypothesis is that it is not. Observations are taken in `blocks`, of `block[0]` of A and `block[1]` of B each,
    in the order in which they came (`in_blocks`); `right_a` and `right_b` count the successes in all blocks. The bet is
    spread over pairs of rates, each against the rate that both would have in common (Turner, Ly and Grünwald 2024,
    arXiv 2106.02693).
    """
    many_a, many_b = block
    if min(block) < 1:
        raise UserError(f"A block needs an observation of each model; got {many_a} and {many_b}.")
    a, b, count = _counts(right_a, right_b, blocks)
    if (a > count * many_a).any() or (b > count * many_b).any():
        raise UserError("There cannot be more successes than observations in the blocks.")
    low, high = (grid[np.triu_indices(_POINTS, 1)] for grid in np.meshgrid(_RATES, _RATES, indexing="ij"))
    common = (many_a * low + many_b * high) / (many_a + many_b)
    logs = a[..., None] * np.log(low / common) + (count * many_a - a)[..., None] * np.log((1 - low) / (1 - common))
    logs += b[..., None] * np.log(high / common) + (count * many_b - b)[..., None] * np.log((1 - high) / (1 - common))
    return _mean(logs)


def in_blocks(a: Sequence[float], b: Sequence[float], block: tuple[int, int] = (1, 1)) -> tuple[float, float, int]:
    """Return the successes of both and the number of the complete blocks; observations after them wait for more."""
    count = min(len(a) // block[0], len(b) // block[1])
    return sum(a[: count * block[0]]), sum(b[: count * block[1]]), count


def log_e_shares(counts: Sequence[ArrayLike], shares: Sequence[float]) -> Any:
    """Return the log of the evidence that observations are not divided in these shares: a sample-ratio mismatch.

    The hypothesis is that each falls into a group with its share as probability; the bet is on a Dirichlet distribution
    around the shares (Lindon and Malek 2022, arXiv 2011.03567).
    """
    if len(counts) != len(shares) or min(shares) <= 0 or not math.isclose(sum(shares), 1):
        raise UserError(f"There must be a share above 0 for each group, and they must add up to 1; got {list(shares)}.")
    seen = _counts(*counts)
    gamma = np.vectorize(math.lgamma, otypes=[float])
    logs = math.lgamma(_PRIOR) - gamma(_PRIOR + sum(seen))
    for count, share in zip(seen, shares, strict=True):
        prior = _PRIOR * share
        logs = logs + gamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return logs[()]


def _counts(*given: ArrayLike) -> list[Floats]:
    arrays = [np.asarray(one, float) for one in given]
    if any((one < 0).any() for one in arrays):
        raise UserError("Counts must not be negative.")
    return arrays


def _mean(logs: Floats) -> Any:
    """Return the log of the mean over the last axis of values whose logs are given."""
    top = logs.max(-1)
    return (top + np.log(np.exp(logs - top[..., None]).mean(-1)))[()]
