"""Signal and noise of a task at the size of some models: whether it can tell them apart at all.

Takes the scores of different models, and of the last checkpoints (or seeds) of one run. Signal is the largest
difference between models over their mean, noise the standard deviation over the checkpoints over theirs. Their ratio is
the signal-to-noise ratio of Heineman et al. (2025, Signal and Noise). Whether two models differ is decided by Tukey's
range test, with the noise as its error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from sayso.base.errors import UserError
from sayso.judge.statistics.distributions import scipy_stats
from sayso.judge.statistics.estimate import LEVEL, Estimate


@dataclass(frozen=True)
class SignalToNoise:
    """What a task can tell about some models."""

    signal: float
    """Largest difference between two models, over the mean of all."""
    noise: float
    """Standard deviation over the checkpoints, over their mean."""
    least: float
    """Smallest difference between two of the models that is more than noise, at 5 % for all pairs together."""
    apart: int
    """Pairs of models that differ by at least that."""
    pairs: int

    @property
    def ratio(self) -> float:
        """Signal over noise; infinite without noise, 0 without signal."""
        if not self.signal:
            return 0.0
        return self.signal / self.noise if self.noise else float("inf")


def signal_to_noise(models: Sequence[float], checkpoints: Sequence[float]) -> SignalToNoise:
    """Return signal and noise, given the scores of two or more models and of two or more checkpoints of one run.

    Raises `UserError` for fewer.
    """
    if len(models) < 2 or len(checkpoints) < 2:
        raise UserError(
            f"Signal and noise take two or more models and two or more checkpoints of a run; got {len(models)} and "
            f"{len(checkpoints)}."
        )
    scores, run = np.asarray(models, np.float64), np.asarray(checkpoints, np.float64)
    spread = float(run.std(ddof=1))
    least = _range_limit(len(scores), len(run) - 1) * spread
    differences = [abs(a - b) for a, b in combinations(scores.tolist(), 2)]
    apart = sum(one > 0 and one >= least for one in differences)
    return SignalToNoise(
        _over(float(np.ptp(scores)), float(scores.mean())),
        _over(spread, float(run.mean())),
        least,
        apart,
        len(differences),
    )


def all_at_chance(scores: Mapping[str, Estimate], baseline: float) -> bool:
    """Whether no model's interval lies above the score of a guess."""
    return not any(one.low > baseline for one in scores.values())


def _over(size: float, mean: float) -> float:
    return 0.0 if not size else size / abs(mean) if mean else float("inf")


@cache
def _range_limit(models: int, df: int) -> float:
    """Return the quantile of the studentized range of equal models."""
    return float(scipy_stats().studentized_range.ppf(LEVEL, models, df))
