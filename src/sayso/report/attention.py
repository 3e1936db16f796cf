"""The attention of a head as an SVG file: rows look at columns, the darker the more."""

from collections.abc import Sequence
from html import escape

from sayso.report.chart import FONT, INK, LINE, PAPER, SOFT

CELL, TOP = 22, 40
COLOR = "#08519c"


def drawn(weights: Sequence[Sequence[float]], labels: Sequence[str], title: str) -> str:
    """Return a lower triangle of cells [T, T] with the tokens beside it and below it."""
    size = len(labels)
    left = 24 + 7 * max(map(len, labels))
    width, height = max(left + CELL * size + 16, 16 + 9 * len(title)), TOP + CELL * size + left
    cells = []
    for row, label in enumerate(labels):
        y = TOP + CELL * row
        cells.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        x, below = left + CELL * row, TOP + CELL * size + 8
        cells.append(
            f'<text transform="translate({x + 15} {below}) rotate(-90)" text-anchor="end">{escape(label)}</text>'
        )
        for column in range(row + 1):
            share = weights[row][column]
            cells.append(
                f'<rect x="{left + CELL * column}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="{COLOR}" '
                f'fill-opacity="{share**0.5:.3f}" stroke="{LINE}"><title>{escape(label)} looks at '
                f"{escape(labels[column])}: {share:.1%}</title></rect>"
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="{FONT}" font-size="12" fill="{INK}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/><text x="16" y="24" font-size="16" font-weight="600">'
        f'{escape(title)}</text>{"".join(cells)}<text x="16" y="{height - 10}" fill="{SOFT}">Rows look at columns; '
        "the square root of the weight is drawn.</text></svg>\n"
    )
