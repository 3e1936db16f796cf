"""Scaling laws: whether the 95 % intervals of a fit cover the laws that runs were made from.

    python -m bench.law_fit [--laws 200] [--resamples 200]

Each set of runs follows a law with random exponents, 9 sizes by 8 numbers of tokens, with noise of 0.4 % of the loss.
`ours` is the share of the intervals of a, the exponent of the compute-optimal size, that contain it; `peer` is 0.95. In
`details`: the same for E, alpha and beta, the error of the loss that is predicted for 100 times the compute, and the
seconds of a fit.
"""

import statistics
import time

import numpy as np

from bench.harness import parser, result, say, sized
from sayso.law.scaling import Runs, ScalingLaw, fit_law
from sayso.law.uncertainty import bootstrap

NOISE = 0.004
SIZES, TOKENS = np.geomspace(4e7, 1e10, 9), np.geomspace(5e8, 3e11, 8)
NAMES = ("a", "E", "alpha", "beta")


def main() -> None:
    """Measure, and print the figures."""
    arguments = parser("law_fit", __doc__)
    arguments.add_argument("--laws", type=int, default=sized(200, 3))
    arguments.add_argument("--resamples", type=int, default=sized(200, 10))
    given = arguments.parse_args()
    rng = np.random.default_rng(0)
    covered: dict[str, list[bool]] = {name: [] for name in NAMES}
    errors, seconds = [], []
    for number in range(given.laws):
        law = ScalingLaw(
            rng.uniform(1.5, 2.2), rng.uniform(200, 800), rng.uniform(500, 4000), *rng.uniform(0.28, 0.42, 2)
        )
        runs = planted(law, rng)
        begun = time.perf_counter()
        fit = fit_law(runs)
        seconds.append(time.perf_counter() - begun)
        intervals = bootstrap(runs, fit, given.resamples, seed=number)
        for name in NAMES:
            low, high = intervals.interval(name)
            truth = law.exponent if name == "a" else getattr(law, name)
            covered[name].append(low <= truth <= high)
        far = law.best(100 * runs.compute.max())
        errors.append(abs(fit.law.loss(*far) / law.loss(*far) - 1))
        if (number + 1) % 20 == 0 or number + 1 == given.laws:
            say(f"{number + 1} laws: {100 * statistics.fmean(covered['a']):.1f} % of the intervals of a cover it")
    shares = {name: statistics.fmean(each) for name, each in covered.items()}
    result("law_fit", "share of 95 % intervals of a that cover it", shares["a"], 0.95, coverage=shares,
           median_error_at_100_times=statistics.median(errors), seconds_of_a_fit=statistics.median(seconds),
           laws=given.laws, resamples=given.resamples)  # fmt: skip


def planted(law: ScalingLaw, rng: np.random.Generator) -> Runs:
    """Return runs that follow a law, but for noise of the log loss."""
    n, d = (axis.ravel() for axis in np.meshgrid(SIZES, TOKENS))
    return Runs(n, d, law.loss(n, d) * np.exp(NOISE * rng.standard_normal(len(n))))


if __name__ == "__main__":
    main()
