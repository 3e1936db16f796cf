"""Small charts as HTML with inline SVG: takes numbers, returns markup.

Scalable parts (lines, bars, cells) are SVG or boxes sized in percent. Labels are HTML text, so they keep their size on
a phone and can be selected. Colors are CSS classes of the page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LINE_POINTS = 500  # more than a screen can resolve


@dataclass(frozen=True)
class Line:
    """A line."""

    points: Sequence[tuple[float, float]]
    """(x, y) pairs."""
    kind: str
    """CSS class."""


@dataclass(frozen=True)
class ChartScale:
    """The range of an axis, with round numbers as ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of a value in percent, clamped to the range."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(100 * min(1.0, max(0.0, share)), 2)


def scale(low: float, high: float, marks: int = 5) -> ChartScale:
    """Return an axis over [low, high], extended to round ticks."""
    span = (high - low) or abs(high) or 1.0
    raw = span / marks
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(step * i, 10) for i in range(first, last + 1))
    return ChartScale(ticks[0], ticks[-1], ticks)


def plot(
    lines: Sequence[Line],
    dots: Line | None,
    x_name: str,
    y_name: str,
    alt: str,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Return a line chart; `dots` are drawn over the lines, `y_range` is that of the axis (None: from the data)."""
    shown = [*lines, *([dots] if dots else [])]
    xs, ys = ([point[i] for line in shown for point in line.points] for i in (0, 1))
    x, y = scale(0, max(xs)), scale(*(y_range or (min(ys), max(ys))))
    grid = "".join(f'<path class="grid" d="M0 {100 - y.at(tick)}H100"/>' for tick in y.ticks)
    drawn = "".join(f'<path class="{line.kind}" d="{_path(thin(line.points), x, y)}"/>' for line in lines)
    if dots:  # a zero-length line with round caps: scaling does not distort it
        spots = "".join(f"M{x.at(a)} {round(100 - y.at(b), 2)}h0" for a, b in dots.points)
        drawn += f'<path class="{dots.kind}" d="{spots}"/>'
    y_marks = "".join(f'<i class="yt" style="top:{100 - y.at(t)}%">{short(t)}</i>' for t in y.ticks)
    x_marks = "".join(f'<i class="xt" style="left:{x.at(t)}%">{short(t)}</i>' for t in x.ticks)
    return (
        f'<div class="plot"><div class="yn">{escape(y_name)}</div><div class="area">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(alt)}">'
        f"{grid}{drawn}</svg>"
        f'{y_marks}{x_marks}</div><div class="xn">{escape(x_name)}</div></div>'
    )


def bar(value: float, most: float, kind: str) -> str:
    """Return a bar of width `value / most`."""
    return f'<div class="track"><div class="bar {kind}" style="width:{100 * value / most:.2f}%"></div></div>'


def whiskers(marks: Sequence[tuple[float, float, float, str]]) -> str:
    """Return dots with intervals on a scale of 0 to 1, below each other; each mark is (mean, low, high, CSS class)."""
    rows = "".join(
        f'<div class="wh {kind}">'
        f'<div class="reach" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></div>'
        f'<div class="dot" style="left:{100 * mean:.1f}%"></div></div>'
        for mean, low, high, kind in marks
    )
    return f'<div class="whs">{rows}</div>'


def heat(weights: Sequence[Sequence[float]], labels: Sequence[str], alt: str) -> str:
    """Return a lower triangle of cells, row t and column s <= t, with labels on the left and below."""
    size = len(labels)
    cells = "".join(
        f'<rect x="{s}" y="{t}" width="1" height="1" fill-opacity="{weights[t][s]:.2f}">'
        f"<title>{escape(labels[t])} attends to {escape(labels[s])}: {weights[t][s]:.0%}</title></rect>"
        for t in range(size)
        for s in range(t + 1)
        if weights[t][s] >= 0.005
    )
    steps = "".join(f"M0 {t}H{t}V{t + 1}" for t in range(1, size)) + f"M0 {size}H{size}M0 0V{size}"
    return (
        f'<div class="heat" style="--n:{size}"><div class="rows">{_spans(labels)}</div>'
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(alt)}">{cells}'
        f'<path class="edge" d="{steps}"/></svg><div class="columns">{_spans(labels)}</div></div>'
    )


def smooth(values: Sequence[float], span: int) -> list[float]:
    """Return the exponential moving average over about `span` values, corrected for the bias at the start."""
    decay = 1 - 1 / max(1, span)
    total, weight, out = 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        out.append(total / weight)
    return out


def thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return about LINE_POINTS of the points, evenly spaced, including the last."""
    stride = max(1, len(points) // LINE_POINTS)
    return [*points[:-1:stride], points[-1]]


def short(value: float) -> str:
    """Format a number for an axis: 0.5, 12, 3k, 1.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}".replace("e-0", "e-")


def _spans(labels: Sequence[str]) -> str:
    return "".join(f"<span>{escape(label)}</span>" for label in labels)


def _path(points: Sequence[tuple[float, float]], x: ChartScale, y: ChartScale) -> str:
    return "M" + "L".join(f"{x.at(a)} {round(100 - y.at(b), 2)}" for a, b in points)
