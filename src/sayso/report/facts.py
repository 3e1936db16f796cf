"""All records of a life, read once; what does not exist yet is None or empty.

Takes a life's folder, returns `Facts`: plain data for figures, drawings and the page.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.files import read_json, read_object, sha256
from sayso.base.intact import check_recorded
from sayso.base.life import STAGES, Life
from sayso.base.log import events_of
from sayso.report.steered import Steered, steered
from sayso.token.load import MADE_OF
from sayso.weights.lineage import read_lineage

_Data = dict[str, Any]
ACTS = (
    *("prepare", "tokenizer", "import", "pretrain", "finetune", "reward", "align", "reinforce", "improve", "selfplay"),
    *("evaluate", "verify"),
)
TRAINED = {"base": "pretrain", "tuned": "finetune", "aligned": "align"}  # which act makes which stage


@dataclass(frozen=True)
class Curve:
    """The log of a training run: one value per step, and periodic evaluations on held-out text."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    tokens: int
    held_out: tuple[tuple[int, float], ...]
    """(step, bits per byte)."""
    replies: tuple[tuple[int, float], ...] = ()
    """(step, nats per trained token), on held-out conversations."""


@dataclass(frozen=True)
class _Act:
    """Total cost of one act over all its runs."""

    name: str
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Facts:
    """The records of one life so far."""

    life: Life
    manifest: _Data | None
    tokenizers: list[_Data]
    made_tokenizer: _Data | None
    """The training data of the life's tokenizer, and its measurements."""
    hashes: dict[str, str]
    """SHA-256 of the data's manifest ("data") and of the tokenizer ("tokenizer"), if they exist."""
    models: dict[str, _Data]
    """sayso.json of each existing stage, in order."""
    shapes: dict[str, _Data]
    """config.json of each stage."""
    curves: dict[str, Curve]
    """By act."""
    acts: list[_Act]
    baselines: _Data | None
    scores: dict[str, _Data]
    """Results of evaluate, by stage."""
    verify: _Data
    steered: list[Steered]
    """The runs that learned from preferences or rewards."""

    @property
    def newest(self) -> str | None:
        """The latest existing stage."""
        return list(self.models)[-1] if self.models else None


def read_facts(life: Life) -> Facts:
    """Read a life; a damaged file is a `UserError` that names it."""
    models = {stage: life.model(stage) for stage in STAGES if (life.model(stage) / "sayso.json").exists()}
    curves = {act: curve(life.run(f"{act}-{stage}") / "run.jsonl") for stage, act in TRAINED.items()}
    return Facts(
        life=life,
        manifest=maybe(life.data("text") / "manifest.json"),
        tokenizers=maybe(life.run("tokenizer-compare") / "scores.json") or [],
        made_tokenizer=maybe(life.tokenizer / MADE_OF),
        hashes={name: sha256(path) for name, path in origins(life).items() if path.exists()},
        models={stage: read_lineage(folder) for stage, folder in models.items()},
        shapes={stage: read_object(folder / "config.json") for stage, folder in models.items()},
        curves={act: found for act, found in curves.items() if found},
        acts=acts(life),
        baselines=maybe(life.run("baselines") / "scores.json"),
        scores={stage: found for stage in STAGES if (found := maybe(life.run(f"evaluate-{stage}") / "scores.json"))},
        verify=maybe(life.run("verify") / "scores.json") or {},
        steered=steered(life),
    )


def origins(life: Life) -> dict[str, Path]:
    """The two files from which everything else in a life derives."""
    return {"data": life.data("text") / "manifest.json", "tokenizer": life.tokenizer / "tokenizer.json"}


def maybe(path: Path) -> Any:
    """The file's JSON, or None if there is no file."""
    if not path.exists():
        return None
    check_recorded(path, "create it again")
    return read_json(path)


def curve(path: Path) -> Curve | None:
    """The losses of a run; a step repeated after a resume counts once, with its latest value."""
    events = events_of(path) if path.exists() else []
    told = [event for event in events if event["event"] == "step" and event["loss"] is not None]  # null: not finite
    losses = {event["step"]: event["loss"] for event in told}
    if not losses:
        return None
    held_out, replies = (
        tuple(sorted({one["step"]: one[key] for one in events if one["event"] == "val" and key in one}.items()))
        for key in ("val_bpb", "held_out_loss")
    )
    tokens = max(event["tokens"] for event in events if event["event"] == "step")
    steps = tuple(sorted(losses))
    return Curve(steps, tuple(losses[step] for step in steps), tokens, held_out, replies)


def acts(life: Life) -> list[_Act]:
    """Seconds and peak memory of each act, in the order of a life; runs that were set aside do not count."""
    found: dict[str, _Act] = {}
    for path in sorted((life.root / "runs").glob("*/run.jsonl")):
        events = events_of(path)
        if re.search(r"\.\d+$", path.parent.name) or not events or "act" not in events[0]:
            continue
        name, before = events[0]["act"], found.get(events[0]["act"], _Act("", 0.0, 0.0))
        peak = max((event.get("peak_memory_mb", 0.0) for event in events), default=0.0)
        found[name] = _Act(name, before.seconds + spent(events), max(before.peak_memory_mb, peak))
    return sorted(found.values(), key=lambda act: (*ACTS, act.name).index(act.name))


def spent(events: list[_Data]) -> float:
    """Seconds of the latest run with all its parts: from each part's end event, or its last step."""
    pieces: list[float] = []
    before = None
    for event in events:
        if event["event"] == "start":
            pieces = [0.0] if before == "end" else [*pieces, 0.0]  # after an end the act was run again
        elif "seconds" in event and pieces:
            pieces[-1] = max(pieces[-1], event["seconds"])
        before = event["event"]
    return round(sum(pieces), 2)
