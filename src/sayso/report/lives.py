"""The report's section that sets a demo's scores beside those of five measured lives, none of them chosen."""

from collections.abc import Sequence
from html import escape

from sayso import world
from sayso.judge.statistics.estimate import estimate
from sayso.report.draw import whiskers
from sayso.report.facts import Facts
from sayso.report.markup import caption, section

FIVE_LIVES = {
    "questions about a story": (0.94, 0.95, 0.94, 0.96, 0.94),
    "one word": (0.93, 0.98, 0.95, 0.95, 0.93),
    "self": (0.88, 0.90, 0.90, 0.90, 0.90),
    "instructions": (0.92, 0.94, 0.92, 0.91, 0.92),
}
"""Scores of the aligned models of five demos with seeds 0 to 4 (bench/demo_lives.py, bench/RESULTS.md)."""
_FAMILIES = {
    "questions about a story": world.STORY_FAMILIES,
    "one word": ("one_word",),
    "self": ("self",),
    "instructions": world.INSTRUCTION_FAMILIES,
}


def lives(facts: Facts) -> str:
    """Return the section; nothing for a life of another kind, whose base was not trained on conversations."""
    scored = facts.scores.get("aligned")
    own = facts.models.get("base", {}).get("config", {}).get("conversations")
    if scored is None or not own or not all(f in scored["families"] for part in _FAMILIES.values() for f in part):
        return ""
    rows = "".join(
        _row(name, [v for f in _FAMILIES[name] for v in scored["families"][f]["values"]]) for name in FIVE_LIVES
    )
    ends = "<span>0</span><span>50</span><span>100&nbsp;%</span>"
    top = (
        f'<div class="row top"><span></span><span class="ends">{ends}</span><span class="n">five lives</span>'
        '<span class="n aligned">this life</span></div>'
    )
    intro = (
        "<p>One life may be lucky. The small marks are the aligned models of five demos with the default budget of 12 "
        "minutes, on a machine with two cores, with seeds 0 to 4; all five are shown.</p>"
    )
    note = caption(
        "A life with fewer minutes, or on a slower machine, trains for fewer steps and can score lower; one with more "
        "can score higher."
    )
    chart = f'<div class="scores" style="--stages:2">{top}{rows}</div>'
    return section("lives", "Beside five other lives", intro, f"<figure>{chart}{note}</figure>")


def _row(name: str, values: Sequence[float]) -> str:
    this, five = estimate(values, low=0, high=1), FIVE_LIVES[name]
    marks = "".join(f'<div class="dot five" style="left:{100 * value:.1f}%"></div>' for value in five)
    own = whiskers([(this.mean, this.low, this.high, "aligned")])
    return (
        f'<div class="row"><span class="who">{escape(name)}</span>'
        f'<div class="beside"><div class="fives">{marks}</div>{own}</div>'
        f'<span class="n">{100 * min(five):.0f}–{100 * max(five):.0f}</span><span class="n">{100 * this.mean:.0f}'
        f"<small>{100 * this.low:.0f}–{100 * this.high:.0f}</small></span></div>"
    )
