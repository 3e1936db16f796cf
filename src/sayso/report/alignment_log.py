"""Read the logs of runs that learned from preferences or rewards: metrics, evaluations, samples and warnings."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.life import NAME_PATTERN, Life
from sayso.base.log import STEP_FIELDS, read_log

Points = list[tuple[float, float]]
NO_FIGURES = frozenset(("held_out_interval", "low", "high", "score_low", "score_high"))
"""Fields of log lines that are not shown in charts."""
ALIGNMENT_ACTS = ("align", "reward", "reinforce", "improve", "selfplay")


@dataclass(frozen=True)
class AlignmentRun:
    """The log of one run that learned from preferences or rewards."""

    act: str
    model: str
    """Name of the model it trains."""
    figures: dict[str, Points]
    """(step, value) pairs of each metric, by name; for reinforcement, a step is an iteration."""
    judged: dict[str, Points]
    """The same for metrics of held-out evaluations."""
    samples: dict[int, list[dict[str, Any]]]
    """Replies by step."""
    warnings: list[tuple[int, str]]
    """(step, message) pairs."""


def alignment_runs(life: Life) -> list[AlignmentRun]:
    """Return the runs of a life that logged metrics, in the order of the acts, without runs set aside."""
    found = []
    for act in ALIGNMENT_ACTS:
        for path in sorted((life.root / "runs").glob(f"{act}-*/run.jsonl")):
            model = path.parent.name.removeprefix(f"{act}-")
            if not NAME_PATTERN.fullmatch(model):
                continue
            run = read_alignment(path, act, model)
            if (run.figures or run.judged) and life.model(model).exists():
                found.append(run)
    return found


def read_alignment(path: Path, act: str, model: str) -> AlignmentRun:
    """Return the content of a run's log; of a step repeated after a resume, the latest value counts."""
    events = read_log(path)
    return AlignmentRun(
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
    """Whether a value can be charted; the log of a diverged run may have values that are not finite."""
    if name in STEP_FIELDS or name in NO_FIGURES or isinstance(value, bool):
        return False
    return isinstance(value, int | float) and math.isfinite(value)
