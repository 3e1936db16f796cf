"""The scaling law of Hoffmann et al. 2022, and its fit to runs (their approach 3).

    L(N, D) = E + A / N^alpha + B / D^beta

N parameters, D training tokens, L loss in nats per token; training takes C = 6 N D FLOPs. The fit minimizes the sum of
Huber losses of log L. Starts come from variable projection: for each pair of exponents on a grid, E, A and B are a
linear least-squares problem. Needs `pip install 'sayso[law]'`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sayso.base.errors import UserError, require

Floats = NDArray[np.float64]
PARAMETERS = ("E", "A", "B", "alpha", "beta")
DELTA = 1e-3  # of the Huber loss, as in the paper
_SCALE = 1e6  # of the objective; at its own scale, optimizers stop too early (Besiroglu et al. 2024)
_GRID = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5)
_STARTS = 12
_EXPONENTS = (1e-3, 10.0)  # least and greatest
_LEAST = 1e-6  # nats of a term at a start


@dataclass(frozen=True)
class Runs:
    """Training runs: parameters N, training tokens D, and final losses in nats per token, each [n]."""

    parameters: Floats
    tokens: Floats
    loss: Floats

    def __post_init__(self) -> None:
        """Check that all are positive numbers, as many of each. Raises `UserError` otherwise."""
        if not len(self.parameters) == len(self.tokens) == len(self.loss):
            counts = f"{len(self.parameters)}, {len(self.tokens)} and {len(self.loss)}"
            raise UserError(f"Runs need as many parameter counts as token counts and losses; got {counts}.")
        for name in ("parameters", "tokens", "loss"):
            values = getattr(self, name)
            bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if len(bad):
                raise UserError(f"The {name} of run {bad[0] + 1} must be a positive number; got {values[bad[0]]}.")

    def __len__(self) -> int:
        return len(self.loss)

    def __getitem__(self, index: Any) -> "Runs":
        return Runs(self.parameters[index], self.tokens[index], self.loss[index])

    @property
    def compute(self) -> Floats:
        """Training FLOPs, 6 N D, [n]."""
        return 6 * self.parameters * self.tokens


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    E: float
    """Loss of an unlimited model with unlimited data: the entropy of the text."""
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Return the loss for N parameters and D tokens; numbers or arrays."""
        n, d = np.asarray(parameters, dtype=float), np.asarray(tokens, dtype=float)
        found = self.E + self.A * n**-self.alpha + self.B * d**-self.beta
        return float(found) if found.ndim == 0 else found

    @property
    def exponent(self) -> float:
        """The exponent a of the compute-optimal size: N is proportional to C^a, and D to C^(1 - a)."""
        return self.beta / (self.alpha + self.beta)

    def best(self, compute: float) -> tuple[float, float]:
        """Return the compute-optimal parameters and tokens for a budget in FLOPs (Hoffmann et al. 2022, eq. 4)."""
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        parameters = ratio * (compute / 6) ** self.exponent
        return parameters, compute / 6 / parameters

    def tokens_for(self, loss: float, parameters: float) -> float:
        """Return the tokens that a model needs to reach a loss in nats per token; infinity if it never does."""
        left = loss - self.E - self.A * parameters**-self.alpha
        return float((self.B / left) ** (1 / self.beta)) if left > 0 else float("inf")


@dataclass(frozen=True)
class Fit:
    """A law and how well it fits its runs."""

    law: ScalingLaw
    objective: float
    """Sum of the Huber losses of log L."""
    residuals: Floats
    """log of the predicted loss minus log of the loss, [n]."""


def fit_law(runs: Runs, *, delta: float = DELTA, start: ScalingLaw | None = None) -> Fit:
    """Return the law that fits the runs best, from many starts, or only from `start`.

    Raises `UserError` for fewer than six runs, and for runs that do not differ in parameters or in tokens.
    """
    if len(runs) <= len(PARAMETERS):
        least = len(PARAMETERS) + 1
        raise UserError(f"A law of {len(PARAMETERS)} parameters needs at least {least} runs; got {len(runs)}.")
    for name, values in (("parameters", runs.parameters), ("tokens", runs.tokens)):
        if len({*values.tolist()}) < 2:
            raise UserError(f"A law needs runs that differ in their {name}; all have {values[0]:,.0f}.")
    require("scipy", "law")
    from scipy.optimize import minimize

    problem = _Problem(runs, delta)
    starts = problem.starts() if start is None else [problem.inside(start)]
    options = {"maxiter": 4000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9, "maxls": 60}
    bounds = [(None, None)] * 3 + [_EXPONENTS] * 2
    found = [minimize(problem, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options) for x in starts]
    best = min(found, key=lambda one: one.fun)
    again = minimize(problem, best.x, jac=True, method="BFGS", options={"maxiter": 500, "gtol": 1e-8})
    inside = _EXPONENTS[0] <= min(again.x[3:]) and max(again.x[3:]) <= _EXPONENTS[1]
    x = again.x if inside and again.fun < best.fun else best.x
    return Fit(problem.outside(x), problem(x)[0] / _SCALE, problem.residuals(x))


class _Problem:
    """The objective and its gradient, in parameters that are nearly independent: logs, about the middle of the runs."""

    def __init__(self, runs: Runs, delta: float) -> None:
        self.log_n, self.log_d, self.log_l = np.log(runs.parameters), np.log(runs.tokens), np.log(runs.loss)
        self.middle = self.log_n.mean(), self.log_d.mean()
        self.n, self.d = self.log_n - self.middle[0], self.log_d - self.middle[1]
        self.delta = delta

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Return the objective and its gradient by log E, log A', log B', alpha, beta."""
        predicted, shares = self._predicted(x)
        r = predicted - self.log_l
        size = np.abs(r)
        value = np.where(size <= self.delta, 0.5 * r * r, self.delta * (size - 0.5 * self.delta)).sum()
        pull = np.clip(r, -self.delta, self.delta) * shares  # [3, n]
        gradient = np.array([*pull.sum(1), -(pull[1] * self.n).sum(), -(pull[2] * self.d).sum()])
        return _SCALE * float(value), _SCALE * gradient

    def residuals(self, x: Floats) -> Floats:
        """Return the log of the predicted losses minus the log of the losses, [n]."""
        return self._predicted(x)[0] - self.log_l

    def _predicted(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the log of the predicted losses [n], and the share of each of the three terms in them [3, n]."""
        terms = np.stack((np.full(len(self.n), x[0]), x[1] - x[3] * self.n, x[2] - x[4] * self.d))
        top = terms.max(0)
        weights = np.exp(terms - top)
        total = weights.sum(0)
        return top + np.log(total), weights / total

    def starts(self) -> list[Floats]:
        """Return the most promising starts: for exponents on a grid, the best E, A and B of relative least squares."""
        from scipy.optimize import nnls

        loss, found = np.exp(self.log_l), []
        for alpha in _GRID:
            for beta in _GRID:
                columns = np.stack((np.ones_like(loss), np.exp(-alpha * self.n), np.exp(-beta * self.d)), axis=1)
                parts, _ = nnls(columns / loss[:, None], np.ones_like(loss))
                x = np.array([*np.log(np.maximum(parts, _LEAST)), alpha, beta])
                found.append((self(x)[0], x))
        return [x for _, x in sorted(found, key=lambda one: one[0])[:_STARTS]]

    def inside(self, law: ScalingLaw) -> Floats:
        """Return the parameters of a law; terms that vanish are raised to where the gradient can still move them."""
        n, d = self.middle
        parts = (law.E, law.A * np.exp(-law.alpha * n), law.B * np.exp(-law.beta * d))
        return np.array([*np.log(np.maximum(parts, _LEAST)), law.alpha, law.beta])

    def outside(self, x: Floats) -> ScalingLaw:
        """Return the law of some parameters."""
        n, d = self.middle
        return ScalingLaw(
            float(np.exp(x[0])),
            float(np.exp(x[1] + x[3] * n)),
            float(np.exp(x[2] + x[4] * d)),
            float(x[3]),
            float(x[4]),
        )


def without_highest(runs: Runs, count: int) -> Runs:
    """Return the runs without those with the highest losses, which a law of final losses cannot explain."""
    if not 0 <= count < len(runs):
        raise UserError(f"Of {len(runs)} runs, from 0 to {len(runs) - 1} can be left out; got {count}.")
    return runs[np.sort(np.argsort(runs.loss, kind="stable")[: len(runs) - count])]


def rising(runs: Runs, tolerance: float = 0.0) -> Sequence[tuple[int, int]]:
    """Return pairs of runs of the same size where more tokens gave a higher loss: (fewer, more), by number from 0."""
    found = []
    for size in np.unique(runs.parameters):
        same = np.flatnonzero(runs.parameters == size)
        ordered = same[np.argsort(runs.tokens[same], kind="stable")]
        found += [
            (int(a), int(b))
            for a, b in pairwise(ordered)
            if runs.tokens[b] > runs.tokens[a] and runs.loss[b] > runs.loss[a] * (1 + tolerance)
        ]
    return found
