"""Reliability diagrams, of a reward model and of a language model's confidence: predictions against frequencies."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sayso.base.files import write_atomic
from sayso.judge.statistics.agreement import Bin
from sayso.report.chart import Panel, Series, picture


def reliability_picture(name: str, bins: Sequence[Bin], path: Path) -> None:
    """Write the reliability diagram of a reward model as an SVG file."""
    reach = [(max(0.0, one.was - 2 * _se(one)), min(1.0, one.was + 2 * _se(one))) for one in bins]
    dots = Series("held out", [(one.said, one.was) for one in bins], style="both", reach=reach)
    diagonal = Series("perfect calibration", [(0, 0), (1, 1)], "#7d879a", "dashed")
    panel = Panel("Reliability", "predicted probability", "observed frequency", [diagonal, dots], (0, 1), (0, 1))
    write_atomic(path, picture(f"Calibration of '{name}'", [panel]))


COLORS = ("#2f6fde", "#d9822b", "#2e9e6b")


def knowledge_picture(name: str, confidence: Mapping[str, Any], path: Path) -> None:
    """Write how reliable each kind of confidence is, and the risk at each coverage, as an SVG file."""
    reliability, risk = [Series("perfect calibration", [(0, 0), (1, 1)], "#7d879a", "dashed")], []
    for color, (kind, part) in zip(COLORS, confidence.items(), strict=False):
        points = [(said, was) for said, was, _ in part["bins"]]
        reliability.append(Series(kind, points, color, "both"))
        risk.append(Series(kind, [(x, y) for x, y in part["curve"]], color))
    panels = [
        Panel("Reliability", "confidence", "share that is right", reliability, (0, 1), (0, 1)),
        Panel("Risk and coverage", "share answered", "share of these that is wrong", risk, (0, 1), (0, 1)),
    ]
    write_atomic(path, picture(f"What '{name}' knows of its knowledge", panels))


def _se(one: Bin) -> float:
    return math.sqrt(one.was * (1 - one.was) / one.n)
