"""Charts as a standalone SVG file, for documents and runs: takes series of points, returns markup.

Panels are placed side by side, each with a title, axes with round ticks, a legend and optional intervals. The file has
no external dependencies, and its text can be selected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from sayso.report.draw import ChartScale, scale, short

INK, SOFT, LINE, PAPER = "#1f2324", "#5d6467", "#e2e0d9", "#fcfbf8"
COLORS = ("#0d6e6e", "#976317", "#9b2c2c", "#667086", "#5b4a9c", "#4a7d3a")  # those of the page's charts
WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 230, 62, 74, 34  # size of a panel's plot area, and margins
_ROW = 17  # height of a legend entry
_HEAD = 34  # height of the title
FONT = "Inter, 'Helvetica Neue', 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One series of points."""

    name: str
    """Name in the legend; empty = not in the legend."""
    points: Sequence[Point]
    color: str = COLORS[0]
    style: Literal["line", "dashed", "dots", "both"] = "line"
    reach: Sequence[Point] = ()
    """Lower and upper end of the interval at each point, drawn as whiskers of dots or a band around a line."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x_name: str
    y_name: str
    series: Sequence[Series]
    x_range: Point | None = None
    """Range of the axis; None = from the data."""
    y_range: Point | None = None


def picture(title: str, panels: Sequence[Panel], note: str = "", *, columns: int = 3) -> str:
    """Return panels as an SVG file with at most `columns` side by side, and a `note` below them."""
    legend = max(sum(bool(one.name) for one in panel.series) for panel in panels)
    across, down = LEFT + WIDTH + GAP, 40 + HEIGHT + 52 + _ROW * legend
    columns = min(columns, len(panels))
    width = across * columns
    height = _HEAD + down * -(-len(panels) // columns) + (24 if note else 0)
    drawn = "".join(
        f'<g transform="translate({number % columns * across} {_HEAD - TOP + 40 + number // columns * down})">'
        f"{_panel(panel, LEFT)}</g>"
        for number, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="{FONT}" font-size="12" fill="{INK}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
        f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>{drawn}'
        + (f'<text x="16" y="{height - 14}" fill="{SOFT}">{escape(note)}</text>' if note else "")
        + "</svg>\n"
    )


def _panel(panel: Panel, left: float) -> str:
    ends = [
        (x, end) for one in panel.series for (x, _), reach in zip(one.points, one.reach, strict=False) for end in reach
    ]
    shown = [point for one in panel.series for point in one.points] + ends
    xs, ys = ([point[i] for point in shown if math.isfinite(point[i])] for i in (0, 1))
    x, y = scale(*(panel.x_range or (min(xs), max(xs)))), scale(*(panel.y_range or (min(ys), max(ys))))
    parts = [f'<text x="{left}" y="{TOP - 14}" font-weight="600">{escape(panel.title)}</text>']
    for tick in y.ticks:
        at = TOP + HEIGHT * (1 - y.at(tick) / 100)
        parts.append(f'<path d="M{left} {at:.1f}h{WIDTH}" stroke="{LINE}"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="{SOFT}">{short(tick)}</text>')
    for tick in x.ticks:
        at = left + WIDTH * x.at(tick) / 100
        parts.append(
            f'<text x="{at:.1f}" y="{TOP + HEIGHT + 17}" text-anchor="middle" fill="{SOFT}">{short(tick)}</text>'
        )
    middle, low = left + WIDTH / 2, TOP + HEIGHT
    parts.append(f'<text x="{middle}" y="{low + 36}" text-anchor="middle">{escape(panel.x_name)}</text>')
    parts.append(
        f'<text transform="translate({left - 46} {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y_name)}</text>"
    )
    parts += [_series(one, x, y, left) for one in panel.series]
    for number, one in enumerate([one for one in panel.series if one.name]):
        at = low + 58 + _ROW * number
        parts.append(_key(one, left, at) + f'<text x="{left + 30}" y="{at}">{escape(one.name)}</text>')
    return "".join(parts)


def _key(one: Series, left: float, at: float) -> str:
    dots = f'<circle cx="{left + 11}" cy="{at - 4}" r="3" fill="{one.color}"/>' if one.style in ("dots", "both") else ""
    line = f'<path d="M{left} {at - 4}h22" stroke="{one.color}" stroke-width="2"{_dash(one)}/>'
    return (line if one.style != "dots" else "") + dots


def _series(one: Series, x: ChartScale, y: ChartScale, left: float) -> str:
    def place(point: Point) -> str:
        return f"{left + WIDTH * x.at(point[0]) / 100:.1f} {TOP + HEIGHT * (1 - y.at(point[1]) / 100):.1f}"

    known = [(number, point) for number, point in enumerate(one.points) if all(map(math.isfinite, point))]
    if not known:
        return ""
    drawn = ""
    ends = [(point[0], one.reach[number]) for number, point in known] if one.reach else []
    if ends and one.style in ("line", "dashed"):
        ring = [place((at, low)) for at, (low, _) in ends] + [place((at, high)) for at, (_, high) in reversed(ends)]
        drawn += f'<path d="M{"L".join(ring)}Z" fill="{one.color}" fill-opacity="0.15"/>'
    elif ends:
        bars = "".join(f"M{place((at, low))}L{place((at, high))}" for at, (low, high) in ends)
        drawn += f'<path d="{bars}" stroke="{one.color}" stroke-opacity="0.6"/>'
    if one.style != "dots":
        path = "L".join(place(point) for _, point in known)
        drawn += f'<path d="M{path}" fill="none" stroke="{one.color}" stroke-width="2"{_dash(one)}/>'
    if one.style in ("dots", "both"):
        spots = (place(point).split() for _, point in known)
        drawn += "".join(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{one.color}"/>' for cx, cy in spots)
    return drawn


def _dash(one: Series) -> str:
    return ' stroke-dasharray="5 4"' if one.style == "dashed" else ""
