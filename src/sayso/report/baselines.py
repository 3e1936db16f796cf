"""The report's section on the bits per byte of each stage and of the baselines."""

from html import escape
from typing import Any

from sayso.judge.baselines import BASELINES
from sayso.report.draw import bar
from sayso.report.facts import Facts
from sayso.report.markup import caption, listing, missing, section

_Data = dict[str, Any]
_KINDS = {"real": "Real text", "smallworld": "Small world"}
_LABELS = {"uniform": "uniform", "unigram": "unigram", "kn5": "Kneser-Ney 5-gram", "xz": "xz -9"}
NAMES = {
    "uniform": "uniform guessing",
    "unigram": "the unigram model",
    "kn5": "the 5-gram model",
    "xz": "xz",
}


def baselines(facts: Facts) -> str:
    """Return the section, with a bar chart for each kind of text."""
    if not facts.scores or not facts.baselines:
        return section("baselines", "Baselines", missing("No model has been evaluated yet; run", "sayso evaluate"))
    kinds = [kind for kind in _KINDS if any(kind in scores["bpb"] for scores in facts.scores.values())]
    megabytes = facts.baselines["train_bytes"] / 1e6
    intro = (
        "<p>Bits per byte of held-out text; lower is better. Gray bars are baselines without a network: uniform "
        "guessing, unigram counts, counts of up to five tokens (interpolated modified Kneser-Ney) with the same "
        f"tokenizer, and the compressor <code>xz -9</code>. They are trained on {megabytes:,.1f} MB of the training "
        "text.</p>"
    )
    charts = "".join(_chart(facts, kind) for kind in kinds)
    return section("baselines", "Baselines", intro, f'<div class="pair">{charts}</div>')


def _chart(facts: Facts, kind: str) -> str:
    assert facts.baselines
    bars = [(name, facts.baselines[name][kind]["bpb"], "plain") for name in BASELINES]
    bars += [(stage, scores["bpb"][kind], stage) for stage, scores in facts.scores.items() if kind in scores["bpb"]]
    bars.sort(key=lambda one: one[1]["mean"])
    most = max(part["mean"] for _, part, _ in bars)
    rows = "".join(
        f'<div class="baseline {css}"><span class="who">{escape(_LABELS.get(name, name))}</span>'
        f'{bar(part["mean"], most, css)}<span class="n">{part["mean"]:.3f}{_error(part)}</span></div>'
        for name, part, css in bars
    )
    stage = next(stage for stage in facts.scores if kind in facts.scores[stage]["bpb"])
    text = caption(baseline_verdict(facts, stage, kind))
    return f"<figure><h3>{_KINDS[kind]}</h3><div>{rows}</div>{text}</figure>"


def _error(part: _Data) -> str:
    return f"<small>± {part['se']:.3f}</small>" if part.get("se") is not None else "<small></small>"


def baseline_verdict(facts: Facts, stage: str, kind: str) -> str:
    """Return a sentence on the baselines that the model beats or loses to, by paired differences if available."""
    assert facts.baselines
    own = facts.scores[stage]["bpb"][kind]
    outcome: dict[str, list[str]] = {"beats": [], "loses to": [], "does not differ significantly from": []}
    for name in BASELINES:
        gap = own["above"].get(name) or dict.fromkeys(
            ("mean", "low", "high"), own["mean"] - facts.baselines[name][kind]["bpb"]["mean"]
        )
        low, high = (gap["mean"] if gap[end] is None else gap[end] for end in ("low", "high"))
        verb = "beats" if high < 0 else "loses to" if low > 0 else "does not differ significantly from"
        outcome[verb].append(NAMES[name] + (f" (by {abs(gap['mean']):.2f})" if verb == "loses to" else ""))
    results = "; it ".join(f"{verb} {listing(names)}" for verb, names in outcome.items() if names)
    text = f"The {stage} model needs {own['mean']:.2f} bits per byte of {_KINDS[kind].lower()}: it {results}."
    latest = list(facts.scores)[-1]
    if latest == stage:
        return text
    return f"{text} The {latest} model needs {facts.scores[latest]['bpb'][kind]['mean']:.2f}."
