"""The reliability diagram of a reward model: predicted probabilities against observed frequencies."""

import math
from collections.abc import Sequence
from pathlib import Path

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


def _se(one: Bin) -> float:
    return math.sqrt(one.was * (1 - one.was) / one.n)
