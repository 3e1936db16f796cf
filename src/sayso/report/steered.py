"""What a run that learned from preferences or rewards wrote down: its figures, judgements, samples and warnings."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.life import NAME, Life
from sayso.base.log import OF_EVERY_STEP, read_log

Points = list[tuple[float, float]]
NO_FIGURES = frozenset(("held_out_interval", "low", "high", "score_low", "score_high"))
"""What the lines of such a run have beside the figures that a chart shows."""
STEERING = ("align", "reward", "reinforce", "improve", "selfplay")


@dataclass(frozen=True)
class Steered:
    """One such run."""

    act: str
    model: str
    """What it made."""
    figures: dict[str, Points]
    """By name, (step, value) of each step, or iteration of reinforcement, that tells it."""
    judged: dict[str, Points]
    """The same of what it was not trained on."""
    samples: dict[int, list[dict[str, Any]]]
    """Replies by step."""
    warnings: list[tuple[int, str]]


def steered(life: Life) -> list[Steered]:
    """Return the runs of a life that told figures, in the order of the acts; those set aside do not count."""
    found = []
    for act in STEERING:
        for path in sorted((life.root / "runs").glob(f"{act}-*/run.jsonl")):
            model = path.parent.name.removeprefix(f"{act}-")
            if not NAME.fullmatch(model):
                continue
            run = read_steered(path, act, model)
            if (run.figures or run.judged) and life.model(model).exists():
                found.append(run)
    return found


def read_steered(path: Path, act: str, model: str) -> Steered:
    """Return what a run's log tells; a step that was done again after a resume counts once, as it was done last."""
    events = read_log(path)
    return Steered(
        act,
        model,
        figures=_points([event for event in events if event["event"] == "step"])
        | _points([event for event in events if event["event"] == "iteration"]),
        judged=_points([event for event in events if event["event"] in ("val", "round")]),
        samples={event["step"]: event["rows"] for event in events if event["event"] == "samples"},
        warnings=[(event["step"], event["problem"]) for event in events if event["event"] == "warning"],
    )


def _points(events: list[dict[str, Any]]) -> dict[str, Points]:
    by_step: dict[str, dict[float, float]] = {}
    for event in events:
        for name, value in event.items():
            if _is_figure(name, value):
                by_step.setdefault(name, {})[float(event["step"])] = float(value)
    return {name: sorted(values.items()) for name, values in by_step.items()}


def _is_figure(name: str, value: object) -> bool:
    """Whether a chart can show it: a run that diverged has told numbers that are not finite."""
    if name in OF_EVERY_STEP or name in NO_FIGURES or isinstance(value, bool):
        return False
    return isinstance(value, int | float) and math.isfinite(value)
