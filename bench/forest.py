"""Draw figures with their intervals as an SVG forest plot: panels of rows, with a line at no effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, LEFT, WIDE, GAP, TOP = 26, 90, 210, 34, 64
FONT = 'font-family="system-ui, sans-serif" font-size="12"'
DOT, NONE, INK, GRID = "#0b6bcb", "#c0392b", "#30363d", "#e3e7eb"


@dataclass(frozen=True)
class Panel:
    """One figure for every row."""

    name: str
    line: float
    """The value of no effect."""
    rows: Sequence[tuple[float, float, float]]
    """Mean, low and high of each row."""


def forest(title: str, names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return the panels side by side, each with its own scale."""
    width, height = LEFT + len(panels) * (WIDE + GAP), TOP + len(names) * ROW + 26
    drawn = [f'<text x="10" y="20" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for number, name in enumerate(names):
        drawn.append(f'<text x="{LEFT - 14}" y="{_y(number) + 4}" text-anchor="end" fill="{INK}">{escape(name)}</text>')
    for place, panel in enumerate(panels):
        drawn += _panel(LEFT + place * (WIDE + GAP), panel)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>\n<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, *drawn, "</svg>\n"])


def _panel(left: int, panel: Panel) -> list[str]:
    values = [panel.line, *(value for row in panel.rows for value in row)]
    span = max(values) - min(values)
    step = next(s * 10**p for p in range(-4, 4) for s in (1, 2, 5) if span / (s * 10**p) <= 5)
    first = int(min(values) // step)
    last = max(first + 1, int(-(-max(values) // step)))  # also if all are equal

    def at(value: float) -> float:
        return round(left + (value / step - first) / (last - first) * WIDE, 1)

    bottom = _y(len(panel.rows)) - ROW // 2
    drawn = [f'<text x="{left}" y="44" fill="{INK}" font-weight="600">{escape(panel.name)}</text>']
    for mark in range(first, last + 1):
        where = f'x="{at(mark * step)}" y="{bottom + 14}" text-anchor="middle" font-size="10"'
        drawn.append(f'<path d="M{at(mark * step)} {TOP - 14}V{bottom}" stroke="{GRID}"/>')
        drawn.append(f'<text {where} fill="{INK}">{mark * step:.4g}</text>')
    drawn.append(f'<path d="M{at(panel.line)} {TOP - 14}V{bottom}" stroke="{NONE}" stroke-dasharray="4 3"/>')
    for number, (mean, low, high) in enumerate(panel.rows):
        drawn.append(f'<path d="M{at(low)} {_y(number)}H{at(high)}" stroke="{DOT}" stroke-width="2"/>')
        drawn.append(f'<circle cx="{at(mean)}" cy="{_y(number)}" r="4.5" fill="{DOT}"/>')
    return drawn


def _y(number: int) -> int:
    return TOP + number * ROW
