"""Draws a sweep: the prediction beside the outcome, and its runs under a smooth and under all-or-nothing metrics."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from sayso.law.emergence import LENGTHS
from sayso.law.forecast import Forecast
from sayso.law.scaling import Runs, ScalingLaw
from sayso.law.sweep_training import TrainedRun
from sayso.report.chart import COLORS, Panel, Point, Series, picture

BUDGET = 0.1  # runs whose compute differs by at most this share have the same budget


def draw_prediction(runs: Runs, readings: Runs, found: Forecast, naive: Forecast | None, measured: float | None) -> str:
    """Return the runs, the law and the predicted run as an SVG file, beside the same with one schedule for all."""
    target = math.log10(6 * found.parameters * found.tokens)
    ends = [(found.low, found.high)] if found.low is not None and found.high is not None else []
    marks = [Series("predicted", [(target, found.loss)], COLORS[4], "dots", reach=ends)]
    others = [Series("predicted", [(target, naive.loss)], COLORS[4], "dots")] if naive is not None else []
    outcome = [Series("measured", [(target, measured)], COLORS[5], "dots")] if measured is not None else []
    losses = [
        *runs.loss,
        *readings.loss,
        *(end for reach in ends for end in reach),
        *(y for one in (*marks, *others, *outcome) for _, y in one.points),
    ]
    heights = float(min(losses)), float(max(losses))  # of both panels, so that they can be compared
    panels = [
        _panel(
            "Each run with its own rates and batch size", runs, found.law, found.tokens, [*marks, *outcome], heights,
        ),
        _panel(
            "One schedule and batch size for each size", readings, naive.law if naive else None, found.tokens,
            [*others, *outcome], heights,
        ),
    ]  # fmt: skip
    return picture("Predicted before training", panels)


def _panel(name: str, runs: Runs, law: ScalingLaw | None, tokens: float, marks: list[Series], heights: Point) -> Panel:
    series = []
    for number, size in enumerate(np.unique(runs.parameters)):
        part = runs[runs.parameters == size]
        color = COLORS[number]
        points = zip(np.log10(part.compute).tolist(), part.loss.tolist(), strict=True)
        series.append(Series(f"{size:,.0f} parameters", list(points), color, "dots"))
        if law is not None:
            last = tokens if size == runs.parameters.max() else part.tokens.max()
            along = np.geomspace(part.tokens.min(), last, 40)
            curve = zip(np.log10(6 * size * along).tolist(), law.loss(size, along).tolist(), strict=True)
            series.append(Series("", list(curve), color, "dashed"))
    return Panel(name, "log10 of training FLOPs", "nats per held-out token", [*series, *marks], y_range=heights)


def draw_emergence(trained: Sequence[TrainedRun]) -> str:
    """Return the best run of each budget under every metric as an SVG file: the same runs in each panel."""
    best = best_of_budgets(trained)
    counts = [
        Series(f"{k} in a row", _points(best, _in_a_row(k)), COLORS[number], "both") for number, k in enumerate(LENGTHS)
    ]
    logs = [Series(one.name, [(x, math.log10(y)) for x, y in one.points if y > 0], one.color, "both") for one in counts]
    compute = "log10 of training FLOPs"
    return picture(
        "One sweep under two kinds of metrics",
        [
            Panel(
                "Smooth: probability of the right token", compute, "exp of minus the loss",
                [Series("per token", _points(best, lambda one: one.scores.probability), COLORS[0], "both")],
            ),
            Panel(
                "All or nothing: k right tokens in a row", compute, "share, relative to the last run",
                [Series(one.name, _relative(one.points), one.color, "both") for one in counts],
            ),
            Panel("The same on a log scale", compute, "log10 of the share", [one for one in logs if one.points]),
        ],
    )  # fmt: skip


def best_of_budgets(trained: Sequence[TrainedRun]) -> list[TrainedRun]:
    """Return the run with the lowest loss of each budget, in the order of compute."""
    groups: list[list[TrainedRun]] = []
    for one in sorted(trained, key=lambda one: one.run.compute):
        if groups and one.run.compute <= groups[-1][0].run.compute * (1 + BUDGET):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [min(group, key=lambda one: one.loss) for group in groups]


def _points(trained: Sequence[TrainedRun], value: Callable[[TrainedRun], float]) -> list[Point]:
    return [(math.log10(one.run.compute), value(one)) for one in trained]


def _in_a_row(length: int) -> Callable[[TrainedRun], float]:
    return lambda one: one.scores.in_a_row[length]


def _relative(points: Sequence[Point]) -> list[Point]:
    last = points[-1][1]
    return [(x, y / last) for x, y in points] if last > 0 else list(points)
