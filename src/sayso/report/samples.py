"""Samples of each stage for the same prompts, side by side."""

from html import escape

from sayso.report.facts import Facts
from sayso.report.markup import missing, section


def said(facts: Facts) -> str:
    """The section: a block for each prompt, with a column for each stage."""
    if not facts.scores:
        return section("said", "Samples", missing("There are no samples yet; generate them with", "sayso evaluate"))
    stages = list(facts.scores)
    prompts = [(row["kind"], row["prompt"]) for row in facts.scores[stages[-1]]["samples"]]
    intro = (
        "<p>The same prompts at every stage, sampled once with a fixed seed, not selected. The first are continued as "
        "plain text, the others are asked in the chat template.</p>"
    )
    return section("said", "Samples", intro, *(_block(facts, stages, kind, prompt) for kind, prompt in prompts))


def _block(facts: Facts, stages: list[str], kind: str, prompt: str) -> str:
    columns = "".join(
        f'<div class="{stage}"><b>{stage}</b><p>{_reply(facts, stage, prompt)}</p></div>' for stage in stages
    )
    lead = "Continue" if kind == "continue" else "Asked"
    return (
        f'<div class="said"><h3><small>{lead}</small> {escape(prompt)}</h3>'
        f'<div class="columns" style="--stages:{len(stages)}">{columns}</div></div>'
    )


def _reply(facts: Facts, stage: str, prompt: str) -> str:
    replies = {row["prompt"]: row["reply"] for row in facts.scores[stage]["samples"]}
    text = replies.get(prompt, "").strip()
    return "<br>".join(escape(line) for line in text.splitlines() if line.strip()) or "<i>nothing</i>"
