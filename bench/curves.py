"""Curves as one SVG: panels of lines with dots and, where there are several seeds, the span of them as a band."""

from collections.abc import Mapping, Sequence
from html import escape

WIDE, HIGH, LEFT, GAP, TOP, FOOT = 250, 190, 50, 60, 56, 66
COLOURS = ("#0b6bcb", "#d9730d", "#2f8f4e", "#9aa3ad", "#8250df")
INK, GRID = "#30363d", "#e3e7eb"
FONT = 'font-family="system-ui, sans-serif" font-size="12"'
Curve = Mapping[float, Sequence[float]]
"""At each x, the values of all seeds."""


def curves(
    title: str,
    x_names: Sequence[str],
    panels: Mapping[str, Mapping[str, Curve]],
    most: float | Mapping[str, float] = 1.0,
) -> str:
    """Return panels side by side, each of named curves on a scale of 0 to `most`; one name has one colour in all.

    `most` is that of all panels, or each one's by its name.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    width, height = LEFT + len(panels) * (WIDE + GAP), TOP + HIGH + FOOT
    drawn = [f'<text x="10" y="20" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for place, (name, panel) in enumerate(panels.items()):
        top = most if isinstance(most, float) else most[name]
        drawn += _panel(LEFT + place * (WIDE + GAP), name, x_names[place], panel, names, top)
    x = float(LEFT)
    for number, name in enumerate(names):
        drawn.append(f'<circle cx="{x:g}" cy="{height - 14}" r="4" fill="{COLOURS[number]}"/>')
        drawn.append(f'<text x="{x + 10:g}" y="{height - 10}" fill="{INK}">{escape(name)}</text>')
        x += 30 + 6.6 * len(name)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>\n<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, *drawn, "</svg>\n"])


def _panel(
    left: int, title: str, x_name: str, panel: Mapping[str, Curve], names: Sequence[str], most: float
) -> list[str]:
    xs = sorted({x for curve in panel.values() for x in curve})
    drawn = [f'<text x="{left}" y="{TOP - 14}" font-weight="600" fill="{INK}">{escape(title)}</text>']

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - xs[0]) / (xs[-1] - xs[0]) * WIDE, TOP + (1 - y / most) * HIGH

    for mark in range(5):
        y = at(xs[0], most * mark / 4)[1]
        drawn.append(f'<path d="M{left} {y:.1f}h{WIDE}" stroke="{GRID}"/>')
        label = f'x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="10" fill="{INK}"'
        drawn.append(f"<text {label}>{most * mark / 4:g}</text>")
    for x in xs:
        label = f'x="{at(x, 0)[0]:.1f}" y="{TOP + HIGH + 16}" text-anchor="middle" font-size="10" fill="{INK}"'
        drawn.append(f"<text {label}>{x:g}</text>")
    middle = f'x="{left + WIDE / 2:g}" y="{TOP + HIGH + 32}" text-anchor="middle" font-size="11" fill="{INK}"'
    drawn.append(f"<text {middle}>{escape(x_name)}</text>")
    for name, curve in panel.items():
        drawn += _curve({x: curve[x] for x in sorted(curve)}, COLOURS[names.index(name)], at)
    return drawn


def _curve(curve: Curve, colour: str, at) -> list[str]:
    points = [at(x, sum(values) / len(values)) for x, values in curve.items()]
    over = [at(x, max(values)) for x, values in curve.items()]
    under = [at(x, min(values)) for x, values in curve.items()]
    band = "L".join(f"{x:.1f} {y:.1f}" for x, y in [*over, *reversed(under)])
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return [
        f'<path d="M{band}Z" fill="{colour}" fill-opacity="0.15"/>',
        f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points),
    ]
