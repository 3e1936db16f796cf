"""A forecast: the loss that a law, fitted to small runs, expects of a larger one, and how sure it is."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sayso.law.scaling import Runs, ScalingLaw, fit_law
from sayso.law.uncertainty import bootstrap


@dataclass(frozen=True)
class Forecast:
    """The loss that is expected of a run with N parameters and D tokens, in nats per token."""

    law: ScalingLaw
    objective: float
    """Sum of the Huber losses of log L over the runs that the law was fitted to."""
    parameters: float
    tokens: float
    loss: float
    low: float | None = None
    """Lower end of the 95 % interval, over resampled runs; None if it was not asked for."""
    high: float | None = None

    def error(self, loss: float) -> float:
        """Return the relative error, given the loss that was measured."""
        return self.loss / loss - 1

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Forecast":
        """Return the forecast of a dict from `as_dict`."""
        return cls(**{**data, "law": ScalingLaw(**data["law"])})


def forecast(runs: Runs, parameters: float, tokens: float, resamples: int = 0, *, seed: int = 0) -> Forecast:
    """Fit the law to `runs` and return what it expects of a larger one; raises `UserError` as `fit_law` does.

    The interval holds 95 % of the losses that laws expect which are fitted to runs drawn with replacement.
    """
    fit = fit_law(runs)
    low = high = None
    if resamples:
        laws = bootstrap(runs, fit, resamples, seed=seed).values
        losses = laws["E"] + laws["A"] * parameters ** -laws["alpha"] + laws["B"] * tokens ** -laws["beta"]
        low, high = map(float, np.quantile(losses, [0.025, 0.975]))
    return Forecast(fit.law, fit.objective, parameters, tokens, fit.law.loss(parameters, tokens), low, high)
