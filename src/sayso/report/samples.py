"""The report's section with replies of each stage to the same prompts, side by side."""

from html import escape

from sayso.report.facts import Facts
from sayso.report.markup import missing, section


def samples(facts: Facts) -> str:
    """Return the section: a block for each prompt, with a column for each stage."""
    if not facts.scores:
        return section("samples", "Samples", missing("No samples exist yet; generate them with", "sayso evaluate"))
    stages = list(facts.scores)
    prompts = [(row["kind"], row["prompt"]) for row in facts.scores[stages[-1]]["samples"]]
    intro = (
        "<p>Replies to the same prompts at every stage, sampled once with a fixed seed and not selected. The first "
        "prompts are continued as plain text; the others use the chat template.</p>"
    )
    return section("samples", "Samples", intro, *(_block(facts, stages, kind, prompt) for kind, prompt in prompts))


def _block(facts: Facts, stages: list[str], kind: str, prompt: str) -> str:
    columns = "".join(
        f'<div class="{stage}"><b>{stage}</b><p>{_reply(facts, stage, prompt)}</p></div>' for stage in stages
    )
    label = "Text" if kind == "continue" else "User"
    return (
        f'<div class="sample"><h3><small>{label}</small> {escape(prompt)}</h3>'
        f'<div class="columns" style="--stages:{len(stages)}">{columns}</div></div>'
    )


def _reply(facts: Facts, stage: str, prompt: str) -> str:
    replies = {row["prompt"]: row["reply"] for row in facts.scores[stage]["samples"]}
    text = replies.get(prompt, "").strip()
    return "<br>".join(escape(line) for line in text.splitlines() if line.strip()) or "<i>empty</i>"
