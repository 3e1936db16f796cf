"""The report's section on the scores of each stage on small-world tasks, and the change by the last stage."""

from html import escape
from typing import Any

from sayso import world
from sayso.judge.statistics.estimate import estimate, paired
from sayso.report.draw import whiskers
from sayso.report.facts import Facts
from sayso.report.markup import caption, missing, section

_Data = dict[str, Any]
_GROUPS = (
    ("Questions about a story", world.STORY_FAMILIES),
    ("Skills", world.SKILL_FAMILIES),
    ("Instructions with constraints", world.INSTRUCTION_FAMILIES),
    ("Conversation", world.TALK_FAMILIES),
)


def scores(facts: Facts) -> str:
    """Return the section: a row for each family, in groups, and the mean of each group."""
    stages = [stage for stage in facts.scores if facts.scores[stage]["families"]]
    if not stages:
        return section("scores", "Evaluation", missing("No stage has been evaluated yet; run", "sayso evaluate"))
    rows = "".join(_group(facts, stages, title, families) for title, families in _GROUPS)
    heads = "".join(f'<span class="n {stage}">{stage}</span>' for stage in stages)
    n = min(part["n"] for stage in stages for part in facts.scores[stage]["families"].values())
    base = facts.models.get("base", {})
    familiar = base.get("stage") == "imported" or base.get("config", {}).get("conversations")
    intro = (
        f"<p>Percentage of correct answers to {n} tasks per family, which are not in the training data and are checked "
        "by a program; whiskers and small numbers are 95&nbsp;% intervals. Every stage answers the same tasks in the "
        "chat template" + (".</p>" if familiar else ", which the base model has never seen.</p>")
    )
    ends = "<span>0</span><span>50</span><span>100&nbsp;%</span>"
    top = f'<div class="row top"><span></span><span class="ends">{ends}</span>{heads}</div>'
    chart = f'<div class="scores" style="--stages:{len(stages)}">{top}{rows}</div>'
    return section("scores", "Evaluation", intro, f"<figure>{chart}{caption(stage_verdict(facts, stages))}</figure>")


def _group(facts: Facts, stages: list[str], title: str, families: tuple[str, ...]) -> str:
    shared = [family for family in families if all(family in facts.scores[stage]["families"] for stage in stages)]
    if not shared:
        return ""
    rows = [_row(family, [(s, facts.scores[s]["families"][family]) for s in stages]) for family in shared]
    means = [(stage, group_mean(facts.scores[stage], shared)) for stage in stages]
    return f"<h3>{escape(title)}</h3>{''.join(rows)}{_row('mean', means, 'mean')}"


def _row(name: str, found: list[tuple[str, _Data]], css: str = "") -> str:
    drawn = whiskers([(part["mean"], part["low"], part["high"], stage) for stage, part in found])
    numbers = "".join(
        f'<span class="n">{100 * part["mean"]:.0f}'
        f"<small>{100 * part['low']:.0f}–{100 * part['high']:.0f}</small></span>"
        for _, part in found
    )
    return f'<div class="row {css}"><span class="who">{escape(name.replace("_", " "))}</span>{drawn}{numbers}</div>'


def group_mean(scored: _Data, families: list[str]) -> _Data:
    """Return the mean of all answers of a group; families have equal sizes, so it is also the mean over families."""
    values = [value for family in families for value in scored["families"][family]["values"]]
    return estimate(values, low=0, high=1).as_dict()


def stage_verdict(facts: Facts, stages: list[str]) -> str:
    """Return a sentence on the newest stage's means, and their difference from the previous stage on the same tasks."""
    last = facts.scores[stages[-1]]
    text = (
        f"The {stages[-1]} model correctly answers {100 * last['smallworld_accuracy']['mean']:.0f}&nbsp;% of the "
        f"questions about stories and meets {100 * last['instructions']['mean']:.0f}&nbsp;% of the constraints in "
        "instructions."
    )
    if len(stages) < 2:
        return text
    groups = ((world.STORY_FAMILIES, "on questions"), (world.INSTRUCTION_FAMILIES, "on instructions"))
    changes = [change(facts.scores[stages[-2]], last, families, name) for families, name in groups]
    return f"{text} The change from the {stages[-2]} model on the same tasks is {' and '.join(changes)}."


def change(before: _Data, after: _Data, families: tuple[str, ...], name: str) -> str:
    """Return the paired difference in percentage points, and whether its interval excludes zero."""
    old, new = ([v for f in families for v in part["families"][f]["values"]] for part in (before, after))
    if len(old) != len(new):
        return f"unknown {name} ({len(old)} and {len(new)} tasks cannot be compared)"
    gap = paired(new, old)
    note = "" if gap.low > 0 or gap.high < 0 else ", not significant"
    text = f"{100 * gap.mean:+.1f} points {name} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}{note})"
    return text.replace("-", "−")
