"""The report's section on what models know: right, wrong and withheld answers, and what their confidence is worth."""

from html import escape
from typing import Any

from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.report.draw import Line, plot, whiskers
from sayso.report.facts import Facts
from sayso.report.markup import caption, section, table
from sayso.weights.models import models

_Data = dict[str, Any]
_GROUPS = {
    "trained": "about documents trained on",
    "held_out": "about other documents",
    "invented": "about invented subjects",
}


def read_knowledge(life: Life) -> dict[str, _Data]:
    """Return the results of `--suite knowledge` by model, in the order in which the models were made."""
    found = {
        path.parent.name.removeprefix("evaluate-"): path for path in life.root.glob("runs/evaluate-*/knowledge.json")
    }
    order = [*(name for name in models(life) if name in found), *sorted(found)]
    return {name: read_object(found[name], "tasks", "confidence") for name in dict.fromkeys(order)}


def knowledge(facts: Facts) -> str:
    """Return the section; empty if no model was asked."""
    found = read_knowledge(facts.life)
    if not found:
        return ""
    intro = (
        "<p>Questions about facts, made by program from documents that the life trains on, from others, and about "
        "subjects that do not exist, where only an “I don’t know” is right. A dot is the share that is right, or, of "
        "invented subjects, that abstained; small numbers are 95&nbsp;% intervals.</p>"
    )
    heads = ("model and questions", "0 to 1", ">right", ">wrong", ">abstained", ">asked")
    rows = [_row(model, group, part) for model, one in found.items() for group, part in one["tasks"].items()]
    newest = [model for model, one in found.items() if one["confidence"]][-1:]
    drawn = "".join(_drawn(model, found[model]["confidence"]) for model in newest)
    return section("knowledge", "What the models know", intro, table(heads, rows, "drawn"), drawn)


def knowledge_figures(life: Life) -> dict[str, _Data]:
    """Return the key figures by model for `report.json`."""
    return {
        name: {
            "groups": {
                group: {mark: value["mean"] for mark, value in part["scores"].items()}
                for group, part in one["tasks"].items()
            },
            "confidence": {
                kind: {key: part[key] for key in ("n", "ece", "rms_debiased")}
                | {key: part[key]["mean"] for key in ("brier", "auroc", "invented", "aurc")}
                for kind, part in one["confidence"].items()
            },
        }
        for name, one in read_knowledge(life).items()
    }


def _row(model: str, group: str, part: _Data) -> tuple[str, ...]:
    scores = part["scores"]
    right = scores[part["metric"]]
    marks = whiskers([(right["mean"], right["low"], right["high"], model)])
    numbers = (
        _share(scores[mark]) if group != "invented" or mark != "right" else ""
        for mark in ("right", "wrong", "abstained")
    )
    return f"{escape(model)}<br><small>{_GROUPS[group]}</small>", marks, *numbers, f"{part['items']:,}"


def _share(one: _Data) -> str:
    return f"{one['mean']:.2f}<br><small>{one['low']:.2f}–{one['high']:.2f}</small>"


def _drawn(model: str, confidence: _Data) -> str:
    """Return the reliability and the risk of a model's confidences, and a table of what each is worth."""
    panels = "".join(_panels(kind, part) for kind, part in confidence.items())
    heads = ("confidence", ">ECE", ">debiased", ">Brier", ">AUROC", ">real or invented", ">AURC")
    rows = [
        (kind, *(_number(part[key]) for key in ("ece", "rms_debiased")),
         *(_number(part[key]["mean"]) for key in ("brier", "auroc", "invented", "aurc")))
        for kind, part in confidence.items()
    ]  # fmt: skip
    told = (
        f"How sure the {escape(model)} model was of its answers about real subjects. Dots: how many answers of similar "
        "confidence are right; on the line, confidence and frequency are equal. Curves: the share of wrong answers, if "
        "only the surest are given. The table: calibration error, its debiased root mean square, Brier score and area "
        "under the curve (lower is better), and how often a right answer is surer than a wrong one, and one about a "
        "real subject surer than one about an invented subject (0.5 is chance)."
    )
    title = f"<h3>Confidence of the {escape(model)} model</h3>"
    return f'<figure>{title}<div class="panels knows">{panels}</div>{table(heads, rows)}{caption(told)}</figure>'


def _panels(kind: str, part: _Data) -> str:
    diagonal = Line([(0, 0), (1, 1)], "raw")
    dots = Line([(said, was) for said, was, _ in part["bins"]], "held")
    corners = Line([(0, 0), (1, 1)], "none")
    risk = Line([(x, y) for x, y in part["curve"]], "smooth")
    reliability = plot([diagonal], dots, "confidence", "", f"Reliability of {kind}")
    curve = plot([corners, risk], None, "share answered", "", f"Risk and coverage of {kind}")
    return f"<div><h4>{escape(kind)}: right</h4>{reliability}</div><div><h4>{escape(kind)}: wrong</h4>{curve}</div>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
