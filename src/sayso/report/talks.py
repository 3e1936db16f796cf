"""The report's section on held-out conversations: each stage's loss and short replies, and some replies to read."""

from html import escape
from itertools import pairwise
from typing import Any

from sayso.judge.talks import SHORT
from sayso.judge.tuning import kept_verdict, more_data, tuning_verdict
from sayso.report.draw import whiskers
from sayso.report.facts import Facts
from sayso.report.markup import caption, missing, section, table

_Data = dict[str, Any]


def talks(facts: Facts) -> str:
    """Return the section; empty if no stage was evaluated on conversations."""
    found = {stage: scores["conversations"] for stage, scores in facts.scores.items() if scores.get("conversations")}
    if not found:
        return ""
    count = len(next(iter(found.values()))["values"]["tokens"])
    intro = (
        f"<p>{count:,} conversations that no stage was trained on. The loss is that of their replies, in nats a token; "
        "lower is better. Short replies are compared with the model's own, generated greedily: exactly, apart from "
        "case, articles and punctuation, and by the overlap of their words (F1).</p>"
    )
    heads = ("stage", "the same reply", ">share", ">F1", ">loss", ">95 % interval")
    rows = [_row(stage, part) for stage, part in found.items()]
    return section(
        "talks",
        "Held-out conversations",
        intro,
        table(heads, rows, "drawn"),
        _verdicts(facts, found) + _ask_a_judge(found),
        _read(found),
    )


def _row(stage: str, part: _Data) -> tuple[str, ...]:
    loss, exact, f1 = part["loss"], part["exact"], part["f1"]
    if exact["n"]:
        drawn = whiskers([(exact["mean"], exact["low"], exact["high"], stage)])
        same = f"{exact['mean']:.0%}"
    else:
        drawn, same = "no short replies", ""
    interval = "" if loss["low"] is None else f"{loss['low']:.2f}–{loss['high']:.2f}"
    overlap = f"{f1['mean']:.2f}" if f1["n"] else ""
    return stage, drawn, same, overlap, f"{loss['mean']:.2f}", interval


def _verdicts(facts: Facts, found: dict[str, _Data]) -> str:
    """Return what each stage after the first changed, what would help the newest one, and what it forgot."""
    said = [tuning_verdict(found[a], found[b], (a, b)) for a, b in pairwise(found)]
    first, newest = next(iter(found)), list(found)[-1]
    if said and (more := more_data(found[newest])):
        said.append(f"The {newest} model: {more[0].lower()}{more[1:]}")
    if said:
        said.append(kept_verdict(facts.scores[first], facts.scores[newest], (first, newest)))
    return "".join(caption(escape(text)) for text in said if text)


def _ask_a_judge(found: dict[str, _Data]) -> str:
    """Return how to have replies judged if most of them are too long to be compared word by word."""
    first, newest = next(iter(found)), list(found)[-1]
    part = found[newest]
    if first == newest or 2 * part["exact"]["n"] >= len(part["values"]["tokens"]):
        return ""
    return missing(
        f"Most replies are longer than {SHORT} characters, too long to be compared word by word. A model of a server, "
        "or a reward model (--reward), can judge them in pairs:",
        f"sayso judge {first} {newest} --endpoint URL --judge MODEL",
    )


def _read(found: dict[str, _Data]) -> str:
    """Return a few last messages with the reply as written and that of each stage."""
    first = next(iter(found.values()))["replies"]
    blocks = []
    for number, row in enumerate(first):
        columns = [("written", row["written"])]
        columns += [
            (stage, part["replies"][number]["reply"]) for stage, part in found.items() if _has(part, number, row)
        ]
        cells = "".join(f'<div class="{name}"><b>{name}</b><p>{_shown(text)}</p></div>' for name, text in columns)
        said = row["said"] if len(row["said"]) <= 300 else f"… {row['said'][-300:]}"
        blocks.append(
            f'<div class="sample"><h3><small>User</small> {escape(said)}</h3>'
            f'<div class="columns" style="--stages:{len(columns)}">{cells}</div></div>'
        )
    return "".join(blocks)


def _has(part: _Data, number: int, row: _Data) -> bool:
    """Whether a stage was asked the same."""
    return len(part["replies"]) > number and part["replies"][number]["said"] == row["said"]


def _shown(text: str) -> str:
    return escape(text.strip()) or "<i>empty</i>"
