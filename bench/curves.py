"""Draw curves of several seeds as one picture: panels of lines, with the range of the seeds as a band."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from sayso.report.chart import COLORS, Panel, Series, picture

Curve = Mapping[float, Sequence[float]]
"""The values of all seeds at each x."""


def curves(
    title: str,
    x_names: Sequence[str],
    panels: Mapping[str, Mapping[str, Curve]],
    most: float | Mapping[str, float] = 1.0,
) -> str:
    """Return panels side by side, with named curves on a scale from 0 to `most`; a name has the same color in all.

    `most` applies to all panels, or is given by panel name.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    colors = dict(zip(names, COLORS, strict=False))
    drawn = []
    for (name, panel), x_name in zip(panels.items(), x_names, strict=True):
        series = [_series(label, curve, colors[label]) for label, curve in panel.items()]
        top = most if isinstance(most, float) else most[name]
        drawn.append(Panel(name, x_name, "", series, y_range=(0, top)))
    return picture(title, drawn)


def _series(name: str, curve: Curve, color: str) -> Series:
    xs = sorted(curve)
    spans = [(min(curve[x]), max(curve[x])) for x in xs]
    alone = all(low == high for low, high in spans)
    return Series(name, [(x, fmean(curve[x])) for x in xs], color, "both" if alone else "line", () if alone else spans)
