"""The ranking of an arena as an SVG file: each model's rating and its interval, best first."""

import math
from html import escape

from sayso.judge.arena.ranking import Ranking, Standing
from sayso.report.chart import COLORS, FONT, INK, LEFT, LINE, PAPER, SOFT, WIDTH
from sayso.report.draw import ChartScale, scale, short

_ROW = 26  # height of a model's row
_TOP = 48
_NAMES = 220  # width of the names
_UNBOUNDED = "; hollow: only points won, or only lost, which do not bound a rating"


def ranking_picture(ranking: Ranking, title: str = "Elo ratings") -> str:
    """Return the standings as an SVG file; a gap separates components, which cannot be compared."""
    shown = [
        value
        for one in ranking.standings
        for value in (one.rating, one.low, one.high)
        if one.bounded and value == value
    ] or [one.rating for one in ranking.standings]
    x = scale(min(shown), max(shown))
    note = "95 % intervals" + ("" if all(one.bounded for one in ranking.standings) else _UNBOUNDED)
    rows = len(ranking.standings) + ranking.standings[-1].component
    low, width, left = _TOP + _ROW * rows, _NAMES + WIDTH + LEFT + 70, _NAMES + 16
    ticks = "".join(
        f'<path d="M{left + WIDTH * x.at(tick) / 100:.1f} {_TOP - 8}V{low}" stroke="{LINE}"/>'
        f'<text x="{left + WIDTH * x.at(tick) / 100:.1f}" y="{low + 17}" text-anchor="middle" fill="{SOFT}">'
        f"{short(tick)}</text>"
        for tick in x.ticks
    )
    drawn = "".join(
        _row(one, x, left, _TOP + _ROW * (number + one.component)) for number, one in enumerate(ranking.standings)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {low + 58}" width="{width}" height="{low + 58}" '
        f'role="img" font-family="{FONT}" font-size="12" fill="{INK}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{low + 58}" fill="{PAPER}"/>'
        f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>{ticks}{drawn}'
        f'<text x="16" y="{low + 44}" fill="{SOFT}">{note}</text></svg>\n'
    )


def _row(one: Standing, x: ChartScale, left: float, top: float) -> str:
    """Return a model's row: rank, name, interval, dot, and the numbers."""
    ranks = f"{one.best_rank}-{one.worst_rank}" if one.best_rank < one.worst_rank else f"{one.rank}"
    name = one.player if len(one.player) <= 28 else f"{one.player[:27]}…"
    at, middle = left + WIDTH * x.at(one.rating) / 100, top + _ROW / 2
    line = ""
    if not math.isnan(one.low):
        start, end = (left + WIDTH * x.at(value) / 100 for value in (one.low, one.high))
        line = f'<path d="M{start:.1f} {middle}H{end:.1f}" stroke="{COLORS[0]}" stroke-width="2" stroke-opacity="0.6"/>'
    fill = COLORS[0] if one.bounded else PAPER
    return (
        f'<text x="16" y="{middle + 4}"><title>{escape(one.player)}</title>{escape(name)}</text>{line}'
        f'<circle cx="{at:.1f}" cy="{middle}" r="4" fill="{fill}" stroke="{COLORS[0]}"/>'
        f'<text x="{left + WIDTH + 16}" y="{middle + 4}" fill="{SOFT}">'
        f"{f'{one.rating:.0f}' if one.bounded else '-'}, rank {ranks}</text>"
    )
