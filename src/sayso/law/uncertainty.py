"""How sure a scaling law is: bootstrap intervals, and the error for runs larger than those it was fitted to."""

from dataclasses import dataclass

import numpy as np

from sayso.base.errors import UserError
from sayso.law.scaling import DELTA, PARAMETERS, Fit, Floats, Runs, fit_law

TIMES = 400


@dataclass(frozen=True)
class Intervals:
    """What refits to resampled runs say."""

    values: dict[str, Floats]
    """Of each parameter, and of the exponent a of the compute-optimal size: one value for each resample."""

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Return the percentile interval of a parameter, or of `a`."""
        low, high = np.quantile(self.values[name], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def bootstrap(runs: Runs, fit: Fit, times: int = TIMES, *, seed: int = 0, delta: float = DELTA) -> Intervals:
    """Return the parameters of laws that are fitted to runs drawn with replacement, each from the law of `fit`.

    Raises `UserError` for fewer than two resamples.
    """
    if times < 2:
        raise UserError(f"A bootstrap needs at least 2 resamples; got {times}.")
    rng = np.random.default_rng(seed)
    rows: list[list[float]] = []
    while len(rows) < times:
        drawn = runs[rng.integers(len(runs), size=len(runs))]
        if len({*drawn.parameters.tolist()}) < 2 or len({*drawn.tokens.tolist()}) < 2:
            continue  # nothing can be fitted to it
        law = fit_law(drawn, delta=delta, start=fit.law).law
        rows.append([*(getattr(law, name) for name in PARAMETERS), law.exponent])
    return Intervals(dict(zip((*PARAMETERS, "a"), np.array(rows).T, strict=True)))


@dataclass(frozen=True)
class Extrapolation:
    """What a law that was fitted to the smaller runs predicts for the larger ones."""

    fit: Fit
    runs: Runs
    """The larger runs."""
    errors: Floats
    """Predicted loss / loss - 1, [m]."""
    factor: float
    """Compute of the largest run over that of the largest one that was fitted."""


def extrapolation(runs: Runs, share: float = 0.2, *, delta: float = DELTA) -> Extrapolation:
    """Fit the law to all but the `share` of the runs with the most compute, and predict these."""
    if not 0 < share < 1:
        raise UserError(f"The share of the runs to predict must be between 0 and 1; got {share}.")
    order = np.argsort(runs.compute, kind="stable")
    kept = len(runs) - max(1, round(share * len(runs)))
    small, large = runs[order[:kept]], runs[order[kept:]]
    fit = fit_law(small, delta=delta)
    errors = np.atleast_1d(fit.law.loss(large.parameters, large.tokens)) / large.loss - 1
    return Extrapolation(fit, large, errors, float(large.compute.max() / small.compute.max()))
