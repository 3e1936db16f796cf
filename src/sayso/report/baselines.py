"""Bits per byte of each stage against the baselines, with a verdict in words."""

from html import escape
from typing import Any

from sayso.report.draw import bar
from sayso.report.facts import Facts
from sayso.report.figures import BASELINES
from sayso.report.markup import listing, missing, says, section

_Data = dict[str, Any]
_KINDS = {"real": "Real text", "smallworld": "Small world"}
_NAMED = {"uniform": "uniform", "unigram": "unigram", "kn5": "Kneser-Ney 5-gram", "xz": "xz -9"}
TOLD = {
    "uniform": "guessing evenly",
    "unigram": "counting single tokens",
    "kn5": "the 5-gram model",
    "xz": "xz",
}


def race(facts: Facts) -> str:
    """The section, or the command that is still to be run."""
    if not facts.scores or not facts.baselines:
        return section("race", "Baselines", missing("No model has been evaluated yet; run", "sayso evaluate"))
    kinds = [kind for kind in _KINDS if any(kind in scores["bpb"] for scores in facts.scores.values())]
    megabytes = facts.baselines["train_bytes"] / 1e6
    intro = (
        "<p>Bits per byte of held-out text; lower is better. Gray bars are baselines without a network: "
        "uniform guessing, counts of single tokens, counts of up to five tokens (interpolated, modified "
        "Kneser-Ney, over the same tokens), and the compressor <code>xz -9</code>. They are trained on "
        f"{megabytes:,.1f} MB of the training text.</p>"
    )
    return section(
        "race", "Baselines", intro, f'<div class="pair">{"".join(_lane(facts, kind) for kind in kinds)}</div>'
    )


def _lane(facts: Facts, kind: str) -> str:
    assert facts.baselines
    runners = [(name, facts.baselines[name][kind]["bpb"], "plain") for name in BASELINES]
    runners += [(stage, scores["bpb"][kind], stage) for stage, scores in facts.scores.items() if kind in scores["bpb"]]
    runners.sort(key=lambda runner: runner[1]["mean"])
    most = max(part["mean"] for _, part, _ in runners)
    rows = "".join(
        f'<div class="runner {css}"><span class="who">{escape(_NAMED.get(name, name))}</span>'
        f'{bar(part["mean"], most, css)}<span class="n">{part["mean"]:.3f}{_error(part)}</span></div>'
        for name, part, css in runners
    )
    stage = next(stage for stage in facts.scores if kind in facts.scores[stage]["bpb"])
    words = says(race_verdict(facts, stage, kind))
    return f'<figure><h3>{_KINDS[kind]}</h3><div class="lane">{rows}</div>{words}</figure>'


def _error(part: _Data) -> str:
    return f"<small>± {part['se']:.3f}</small>" if part.get("se") is not None else "<small></small>"


def race_verdict(facts: Facts, stage: str, kind: str) -> str:
    """Which baselines the model beats, loses to, or cannot be told from; by paired differences if available."""
    assert facts.baselines
    own = facts.scores[stage]["bpb"][kind]
    outcome: dict[str, list[str]] = {"beats": [], "loses to": [], "cannot be told from": []}
    for name in BASELINES:
        gap = own["above"].get(name) or dict.fromkeys(
            ("mean", "low", "high"), own["mean"] - facts.baselines[name][kind]["bpb"]["mean"]
        )
        low, high = (gap["mean"] if gap[end] is None else gap[end] for end in ("low", "high"))
        word = "beats" if high < 0 else "loses to" if low > 0 else "cannot be told from"
        outcome[word].append(TOLD[name] + (f" (by {abs(gap['mean']):.2f})" if word == "loses to" else ""))
    told = "; it ".join(f"{word} {listing(names)}" for word, names in outcome.items() if names)
    later = list(facts.scores)[-1]
    change = facts.scores[later]["bpb"][kind]["mean"]
    talk = f" Trained for conversation, the {later} model needs {change:.2f}." if later != stage else ""
    return f"The {stage} model needs {own['mean']:.2f} bits per byte of {_KINDS[kind].lower()}: it {told}.{talk}"
