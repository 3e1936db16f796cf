"""The report as one standalone HTML page, which loads nothing and runs no scripts."""

from html import escape
from importlib.resources import files

from sayso.base.log import duration
from sayso.report.alignment import alignment
from sayso.report.baselines import baselines
from sayso.report.board import leaderboard
from sayso.report.facts import Facts
from sayso.report.inside import inside
from sayso.report.knowledge import knowledge
from sayso.report.learning import learning
from sayso.report.lives import lives
from sayso.report.markup import counted, listing, source_name
from sayso.report.provenance import cost, data, lineage, tokenizers, verification
from sayso.report.samples import samples
from sayso.report.scores import scores
from sayso.report.talks import talks

SECTIONS = (
    baselines,
    scores,
    lives,
    talks,
    knowledge,
    leaderboard,
    samples,
    learning,
    alignment,
    inside,
    tokenizers,
    data,
    lineage,
    cost,
    verification,
)


def page(facts: Facts) -> str:
    """Return the report."""
    style = files("sayso.report").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(section(facts) for section in SECTIONS)
    others = ", except those of five others" if lives(facts) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>The life of a language model</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{style}</style></head><body>'
        f'<header><p class="over">Sayso · {escape(facts.life.root.resolve().name)}</p>'
        f'<h1>The life of a language model</h1><p class="lead">{lead(facts)}</p>{keys(facts)}</header>'
        f"<main>{body}</main><footer><p>All figures were measured in this life{others}. <code>report.json</code>, next "
        "to this page, has them for programs.</p></footer></body></html>\n"
    )


def lead(facts: Facts) -> str:
    """Return a summary: the model, its data, the time and the stages."""
    if facts.newest is None:
        return "Nothing has been trained yet. The sections below show what exists, and the commands for the rest."
    base, total = next(iter(facts.models.values())), sum(act.seconds for act in facts.acts)
    imported = base.get("stage") == "imported"
    text = f"A Transformer of {counted(base['parameters'])} parameters, "
    text += f"imported from {escape(str(base['parent']).split()[0])}" if imported else "trained from scratch"
    if facts.manifest and not imported:
        names = [source_name(source) for source in facts.manifest["sources"]]
        text += f" on {listing(names)}"
    text += f" in {duration(total)}" if total and not imported else ""
    shape = facts.shapes[facts.newest]
    text += (
        f": {shape['num_hidden_layers']} layers, {shape['hidden_size']} wide, a vocabulary of {shape['vocab_size']:,}."
    )
    later = {"tuned": "finetuned on conversations", "aligned": "aligned with comparisons of its replies"}
    done = [words for stage, words in later.items() if stage in facts.models]
    return text + (f" It was then {listing(done)}." if done else "")


def keys(facts: Facts) -> str:
    """Return the key figures of a life, if they exist."""
    shown: list[tuple[str, str]] = []
    if "metrics" in (base := next(iter(facts.models.values()), {})):
        shown.append((counted(base["metrics"]["tokens"]), "tokens of pretraining"))
    first = next(iter(facts.scores.values()), None)
    if first and "real" in first["bpb"]:
        shown.append((f"{first['bpb']['real']['mean']:.2f}", "bits per byte of real text"))
    last = facts.scores[list(facts.scores)[-1]] if facts.scores else None
    if last and last["families"]:
        shown.append((f"{100 * last['smallworld_accuracy']['mean']:.0f}&nbsp;%", "of story questions correct"))
        shown.append((f"{100 * last['instructions']['mean']:.0f}&nbsp;%", "of instruction constraints met"))
    boxes = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in shown)
    return f'<div class="keys">{boxes}</div>' if shown else ""
