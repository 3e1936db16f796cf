"""Draw figures before and after with their intervals as SVG: panels of rows, a ring for before and a dot for after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

ROW, LEFT, WIDE, GAP, TOP = 24, 230, 190, 30, 62
FONT = 'font-family="system-ui, sans-serif" font-size="12"'
BEFORE, AFTER, INK, GRID = "#9aa3ad", "#0b6bcb", "#30363d", "#e3e7eb"


@dataclass(frozen=True)
class Bar:
    """One row of a panel: mean, low and high of a figure before and after."""

    name: str
    before: Mapping[str, float]
    after: Mapping[str, float]


def picture(title: str, panels: Mapping[str, Sequence[Bar]]) -> str:
    """Return the panels side by side, each with its own scale from zero; all have the same rows."""
    rows = len(next(iter(panels.values())))
    width, height = LEFT + len(panels) * (WIDE + GAP), TOP + rows * ROW + 40
    drawn = [f'<text x="10" y="20" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for number, bar in enumerate(next(iter(panels.values()))):
        drawn.append(
            f'<text x="{LEFT - 12}" y="{_y(number) + 4}" text-anchor="end" fill="{INK}">{escape(bar.name)}</text>'
        )
    for place, (name, bars) in enumerate(panels.items()):
        drawn += _panel(LEFT + place * (WIDE + GAP), name, bars)
    foot = height - 10
    drawn.append(f'<circle cx="{LEFT + 6}" cy="{foot - 4}" r="4" fill="#fff" stroke="{BEFORE}" stroke-width="2"/>')
    drawn.append(f'<text x="{LEFT + 16}" y="{foot}" fill="{INK}">before</text>')
    drawn.append(f'<circle cx="{LEFT + 76}" cy="{foot - 4}" r="4" fill="{AFTER}"/>')
    drawn.append(f'<text x="{LEFT + 86}" y="{foot}" fill="{INK}">after</text>')
    body = "\n".join(drawn)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>\n<rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}\n{body}\n</svg>\n"


def _panel(left: int, name: str, bars: Sequence[Bar]) -> list[str]:
    top = max(one["high"] for bar in bars for one in (bar.before, bar.after))
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5) if top / step <= 5)
    most = step * -(-top // step)
    bottom = _y(len(bars)) - ROW // 2
    drawn = [f'<text x="{left}" y="42" fill="{INK}" font-weight="600">{escape(name)}</text>']
    for mark in range(round(most / step) + 1):
        x = left + mark * step / most * WIDE
        drawn.append(f'<path d="M{x:.1f} {TOP - 14}V{bottom}" stroke="{GRID}"/>')
        where = f'x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" font-size="10"'
        drawn.append(f'<text {where} fill="{INK}">{mark * step:g}</text>')
    for number, bar in enumerate(bars):
        for one, y, color, fill in (
            (bar.before, _y(number) - 4, BEFORE, "#fff"),
            (bar.after, _y(number) + 4, AFTER, AFTER),
        ):
            low, mean, high = (left + one[key] / most * WIDE for key in ("low", "mean", "high"))
            drawn.append(f'<path d="M{low:.1f} {y}H{high:.1f}" stroke="{color}" stroke-width="2"/>')
            drawn.append(f'<circle cx="{mean:.1f}" cy="{y}" r="4" fill="{fill}" stroke="{color}" stroke-width="2"/>')
    return drawn


def _y(number: int) -> int:
    return TOP + number * ROW
