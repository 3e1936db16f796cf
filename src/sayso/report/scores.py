"""Scores of each stage: small-world families as numbers, dots and whiskers, and the change by the last stage."""

from html import escape
from typing import Any

from sayso import world
from sayso.judge.stats import estimate, paired
from sayso.report.draw import whiskers
from sayso.report.facts import Facts
from sayso.report.markup import missing, says, section

_Data = dict[str, Any]
_GROUPS = (
    ("Questions about a story just told", world.STORY_FAMILIES),
    ("Skills", world.SKILL_FAMILIES),
    ("Instructions with conditions", world.INSTRUCTION_FAMILIES),
    ("Talk", world.TALK_FAMILIES),
)


def scores(facts: Facts) -> str:
    """The section: a row for each family, grouped, and a mean for each group."""
    stages = [stage for stage in facts.scores if facts.scores[stage]["families"]]
    if not stages:
        return section("scores", "Evaluation", missing("No stage has been evaluated yet; run", "sayso evaluate"))
    rows = "".join(_group(facts, stages, title, families) for title, families in _GROUPS)
    heads = "".join(f'<span class="n {stage}">{stage}</span>' for stage in stages)
    n = min(part["n"] for stage in stages for part in facts.scores[stage]["families"].values())
    imported = facts.models.get("base", {}).get("stage") == "imported"
    intro = (
        f"<p>Percentage of correct answers over {n} tasks per family, not in the training data, checked by a program; "
        "whiskers and small numbers are 95&nbsp;% intervals. Every stage is asked the same tasks in the chat template"
        + (".</p>" if imported else ", which the base model has never seen.</p>")
    )
    ends = "<span>0</span><span>50</span><span>100&nbsp;%</span>"
    top = f'<div class="row top"><span></span><span class="ends">{ends}</span>{heads}</div>'
    chart = f'<div class="scores" style="--stages:{len(stages)}">{top}{rows}</div>'
    return section("scores", "Evaluation", intro, f"<figure>{chart}{says(stage_verdict(facts, stages))}</figure>")


def _group(facts: Facts, stages: list[str], title: str, families: tuple[str, ...]) -> str:
    asked = [family for family in families if all(family in facts.scores[stage]["families"] for stage in stages)]
    if not asked:
        return ""
    rows = [_row(family, [(s, facts.scores[s]["families"][family]) for s in stages]) for family in asked]
    means = [(stage, group_mean(facts.scores[stage], asked)) for stage in stages]
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
    """All answers of a group; families have equal sizes, so this is also the mean over families."""
    values = [value for family in families for value in scored["families"][family]["values"]]
    return estimate(values, low=0, high=1).as_dict()


def stage_verdict(facts: Facts, stages: list[str]) -> str:
    """The newest stage's two means, and its difference from the previous stage on the same questions."""
    last = facts.scores[stages[-1]]
    parts = [
        f"The {stages[-1]} model answers {100 * last['smallworld_accuracy']['mean']:.0f}&nbsp;% of the questions about "
        f"stories and meets {100 * last['instructions']['mean']:.0f}&nbsp;% of what instructions ask"
    ]
    if len(stages) > 1:
        changes = [
            change(facts.scores[stages[-2]], last, families, name)
            for families, name in (
                (world.STORY_FAMILIES, "on questions"),
                (world.INSTRUCTION_FAMILIES, "on instructions"),
            )
        ]
        parts.append(f"against the {stages[-2]} model, on the same tasks, that is {' and '.join(changes)}")
    return "; ".join(parts) + "."


def change(before: _Data, after: _Data, families: tuple[str, ...], name: str) -> str:
    """The paired difference in points, and whether its interval excludes zero."""
    old, new = ([v for f in families for v in part["families"][f]["values"]] for part in (before, after))
    if len(old) != len(new):
        return f"not comparable {name} (asked {len(old)} and {len(new)} tasks)"
    gap = paired(new, old)
    sure = "" if gap.low > 0 or gap.high < 0 else ", within the noise"
    told = f"{100 * gap.mean:+.1f} points {name} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f}{sure})"
    return told.replace("-", "−")
