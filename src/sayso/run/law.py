"""Act: fit a scaling law to training runs, and say what it predicts and how sure it is."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.table import Table

from sayso.base.errors import UserError, require
from sayso.base.files import write_atomic, write_json
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import check_work, new_file, work_in
from sayso.base.output import console
from sayso.base.ranges import Amount, Options, Range, Seed
from sayso.law.frontier import PowerLaw, envelope, isoflop_law, isoflops
from sayso.law.runs_file import read_runs
from sayso.law.scaling import PARAMETERS, Fit, Runs, fit_law, rising, without_highest
from sayso.law.uncertainty import Extrapolation, Intervals, bootstrap, extrapolation
from sayso.report.chart import COLORS, Panel, Series, picture


@dataclass(frozen=True)
class FitLaw(Options):
    """Options of `sayso law fit`."""

    runs: Path
    """CSV or JSON lines: parameters, tokens or training FLOPs, and loss of each run."""
    _: KW_ONLY
    drop_highest: Amount = 0
    """Runs with the highest losses to leave out, which a law of final losses cannot explain."""
    delta: Annotated[float, Range(1e-9, 10.0)] = 1e-3
    """Delta of the Huber loss of log L: residuals beyond it count linearly."""
    resamples: Annotated[int, Range(0, 100_000)] = 400
    """Bootstrap resamples for the intervals; 0 = no intervals."""
    seed: Seed = 0
    """Random seed of the bootstrap."""
    out: Path | None = None
    """SVG file to draw the runs, the law and the compute-optimal sizes into."""
    replace: bool = False
    """Overwrite the file if it exists."""
    life: Path = Path("life")
    """Folder of the life, whose runs/law/law.json gets the law."""


@dataclass(frozen=True)
class Fitted:
    """A fitted law, its intervals, and its error for the largest runs, when it was fitted to the others."""

    fit: Fit
    intervals: Intervals | None
    extrapolation: Extrapolation | None


def fit(options: FitLaw) -> Fitted:
    """Fit a scaling law to training runs."""
    require("scipy", "law")
    if options.out is not None:
        new_file(options.out, "--out", options.replace)
    folder = Life(options.life).run("law")
    check_work(folder)
    runs = without_highest(read_runs(options.runs), options.drop_highest)
    tell_rising(runs)
    found = fit_law(runs, delta=options.delta)
    intervals = None
    if options.resamples:
        intervals = bootstrap(runs, found, options.resamples, seed=options.seed, delta=options.delta)
    try:
        ahead = extrapolation(runs, delta=options.delta)
    except UserError:  # too few runs are left for a fit
        ahead = None
    _show(runs, found, intervals, ahead)
    work_in(folder)
    ends = {name: intervals.interval(name) for name in intervals.values} if intervals else {}
    record = {"runs": len(runs), "objective": found.objective, "intervals": ends, **asdict(found.law)}
    write_json(folder / "law.json", record)
    if options.out is not None:
        write_atomic(options.out, _drawn(runs, found))
        say(f"Saved {options.out}.")
    return Fitted(found, intervals, ahead)


def tell_rising(runs: Runs) -> None:
    """Print which runs have a higher loss than a run of the same size with fewer tokens, at most three."""
    for fewer, more in rising(runs, 1e-3)[:3]:
        say(
            f"{runs.parameters[more]:,.0f} parameters have a higher loss after {runs.tokens[more]:,.0f} tokens, "
            f"{runs.loss[more]:.4f}, than after {runs.tokens[fewer]:,.0f}, {runs.loss[fewer]:.4f}: check the rates."
        )


def _show(runs: Runs, fit: Fit, intervals: Intervals | None, ahead: Extrapolation | None) -> None:
    law, table = fit.law, Table("", "value", *(["95 % interval"] if intervals else []), box=None)
    values = {name: getattr(law, name) for name in PARAMETERS} | {"a": law.exponent}
    for name, value in values.items():
        ends = [f"{low:.4g} to {high:.4g}" for low, high in [intervals.interval(name)]] if intervals else []
        table.add_row(name, f"{value:.4g}", *ends)
    terms = f"{law.E:.4g} + {law.A:.4g} / N^{law.alpha:.4g} + {law.B:.4g} / D^{law.beta:.4g}"
    say(f"L(N, D) = {terms}, from {len(runs)} runs")
    console().print(table)
    say(f"Huber sum of log L: {fit.objective:.7g}; median error {100 * np.median(np.abs(fit.residuals)):.2f} %.")
    for name, exponent in _others(runs).items():
        say(f"Compute-optimal N grows as C^{exponent:.3f} by {name}, as C^{law.exponent:.3f} by the law.")
    if ahead is not None:
        errors = 100 * np.abs(ahead.errors)
        say(
            f"Fitted to the {len(ahead.fit.residuals)} runs with the least compute, it predicts the {len(ahead.runs)} "
            f"others, of up to {ahead.factor:.3g} times the compute, with an error of {errors.mean():.2f} % (at most "
            f"{errors.max():.2f} %)."
        )
    largest = runs.compute.max()
    for factor in (1, 10, 100):
        parameters, tokens = law.best(factor * largest)
        say(
            f"For {factor * largest:.3g} FLOPs: {parameters:.3g} parameters, {tokens:.3g} tokens "
            f"({tokens / parameters:.3g} per parameter), loss {law.loss(parameters, tokens):.4f}."
        )


def _others(runs: Runs) -> dict[str, float]:
    """Return the exponents of the other approaches, as far as the runs allow."""
    approaches: dict[str, Callable[[], PowerLaw]] = {
        "the best runs of each budget": lambda: envelope(runs),
        "IsoFLOP parabolas": lambda: isoflop_law(isoflops(runs)),
    }
    found = {}
    for name, fitted in approaches.items():
        with suppress(UserError):
            found[name] = fitted().a
    return found


def _drawn(runs: Runs, fit: Fit) -> str:
    """Return the runs beside the law: loss by compute for each size, the optimal size, and the residuals."""
    law = fit.law
    order = np.argsort(runs.compute)
    measured = [(float(np.log10(runs.compute[i])), float(runs.loss[i])) for i in order]
    budgets = np.linspace(np.log10(runs.compute.min()), np.log10(runs.compute.max() * 10), 60)
    best = [law.best(10**budget) for budget in budgets]
    frontier = [(float(x), law.loss(*one)) for x, one in zip(budgets, best, strict=True)]
    sizes = [(float(x), float(np.log10(n))) for x, (n, _) in zip(budgets, best, strict=True)]
    lows = [(float(np.log10(one.compute)), float(one.middle / np.log(10))) for one in isoflops(runs)]
    used = [(float(np.log10(runs.compute[i])), float(np.log10(runs.parameters[i]))) for i in order]
    residuals = [(float(np.log10(runs.compute[i])), 100 * float(fit.residuals[i])) for i in order]
    return picture(
        "A scaling law and its runs",
        [
            Panel(
                "Loss", "log10 of training FLOPs", "nats per token",
                [Series("runs", measured, COLORS[3], "dots"), Series("best size, by the law", frontier, COLORS[0])],
            ),
            Panel(
                "Compute-optimal size", "log10 of training FLOPs", "log10 of parameters",
                [
                    Series("runs", used, COLORS[3], "dots"), Series("by the law", sizes, COLORS[0]),
                    *([Series("IsoFLOP parabolas", lows, COLORS[1], "both")] if lows else []),
                ],
            ),
            Panel(
                "Predicted minus measured", "log10 of training FLOPs", "% of the loss",
                [Series("runs", residuals, COLORS[2], "dots")],
            ),
        ],
    )  # fmt: skip
