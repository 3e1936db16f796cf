"""The report's section on training: raw and smoothed loss by step, and evaluations on held-out text."""

import math

from sayso.report.draw import Line, plot, smooth
from sayso.report.facts import TRAINED, Curve, Facts
from sayso.report.markup import caption, counted, missing, section

_TITLES = {"pretrain": "Pre-training", "finetune": "Finetuning on conversations", "align": "Alignment with comparisons"}
UNITS = {"pretrain": "nats per token", "finetune": "nats per trained token", "align": "loss per pair, nats"}
_SHORTEST = 5
SMOOTH = 50  # the moving average spans about 1/50 of the run


def learning(facts: Facts) -> str:
    """Return the section, with a chart for each act that has trained a model."""
    if not facts.curves:
        return section("learning", "Learning", missing("Nothing has been trained yet; start with", "sayso pretrain"))
    charts = [_chart(act, facts.curves[act], facts) for act in TRAINED.values() if act in facts.curves]
    charts += [_heads(curve.heads) for curve in facts.curves.values() if len(curve.heads) > 1]
    key = '<p class="key"><b class="smooth"></b>smoothed <b class="raw"></b>each step'
    held = any(c.held_out or c.replies for c in facts.curves.values())
    key += ' <b class="held"></b>held out' if held else ""
    return section("learning", "Learning", key + "</p>", f'<div class="curves">{"".join(charts)}</div>')


def _chart(act: str, curve: Curve, facts: Facts) -> str:
    """Return the chart of one act's losses."""
    smoothed = smooth(curve.losses, max(_SHORTEST, len(curve.losses) // SMOOTH))
    lines = [
        Line(list(zip(curve.steps, values, strict=True)), kind)
        for values, kind in ((curve.losses, "raw"), (smoothed, "smooth"))
    ]
    held = [(float(step), nats(bpb, facts)) for step, bpb in curve.held_out] if nats(1, facts) else []
    held += [(float(step), loss) for step, loss in curve.replies]
    drawn = plot(lines, Line(held, "held") if held else None, "step", UNITS[act], f"Loss of {act} by step")
    start, end = smoothed[0], smoothed[-1]
    change = "reduced" if end <= start else "raised"
    text = (
        f"{_TITLES[act].split()[0]} {change} the loss from {start:.2f} to {end:.2f} nats in {curve.steps[-1]:,} steps "
    )
    text += f"and {counted(curve.tokens)} tokens; half of the change was reached by step {halfway(curve, smoothed):,}."
    return f"<figure><h3>{_TITLES[act]}</h3>{drawn}{caption(text)}</figure>"


def _heads(heads: tuple[tuple[int, float], ...]) -> str:
    """Return the chart of how induction heads form: the score of the strongest one by step of pre-training."""
    points = [(float(step), score) for step, score in heads]
    alt = "Strongest induction head by step"
    drawn = plot([Line(points, "smooth")], Line(points, "held"), "step", "attention", alt, (0, 1))
    text = (
        "On random tokens that are repeated once, an induction head attends to what followed a token the first time, "
        "so that the model can continue what it has seen. The strongest head's mean attention to it was "
        f"{heads[0][1]:.2f} at step {heads[0][0]:,}, and {heads[-1][1]:.2f} at the end."
    )
    return f"<figure><h3>Induction heads</h3>{drawn}{caption(text)}</figure>"


def halfway(curve: Curve, smoothed: list[float]) -> int:
    """Return the first step at which the smoothed loss had covered half of its change."""
    middle = (smoothed[0] + smoothed[-1]) / 2
    falls = smoothed[-1] <= smoothed[0]
    return next(
        step for step, loss in zip(curve.steps, smoothed, strict=True) if (loss <= middle) == falls or loss == middle
    )


def nats(bpb: float, facts: Facts) -> float:
    """Convert bits per byte to nats per token by the tokenizer's bytes per token on held-out text; 0 if unknown."""
    measured = (facts.made_tokenizer or {}).get("measured", {})
    return bpb * math.log(2) * float(measured.get("bytes_per_token", 0.0))
