"""Read all records of a life once, as `Facts`: plain data for the figures and the page.

Records that do not exist yet are None or empty.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.files import read_json, read_object, sha256
from sayso.base.intact import check_recorded
from sayso.base.life import STAGES, Life
from sayso.base.log import events_of
from sayso.report.alignment_log import AlignmentRun, alignment_runs
from sayso.token.load import MADE_OF
from sayso.weights.lineage import read_lineage

_Data = dict[str, Any]
ACTS = (
    *("prepare", "tokenizer", "import", "pretrain", "finetune", "reward", "align", "reinforce", "improve", "selfplay"),
    *("evaluate", "verify"),
)
TRAINED = {"base": "pretrain", "tuned": "finetune", "aligned": "align"}  # the act that trains each stage


@dataclass(frozen=True)
class Curve:
    """Losses of a training run, and its evaluations on held-out text."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    tokens: int
    held_out: tuple[tuple[int, float], ...]
    """(step, bits per byte) on held-out text."""
    replies: tuple[tuple[int, float], ...] = ()
    """(step, nats per trained token) on held-out conversations."""
    heads: tuple[tuple[int, float], ...] = ()
    """(step, score of the strongest induction head)."""


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
    """Training data and measurements of the life's tokenizer."""
    hashes: dict[str, str]
    """SHA-256 of the data's manifest ("data") and of the tokenizer ("tokenizer"), as far as they exist."""
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
    alignment: list[AlignmentRun]

    @property
    def newest(self) -> str | None:
        """Latest existing stage."""
        return list(self.models)[-1] if self.models else None


def read_facts(life: Life) -> Facts:
    """Return the records of a life. Raises `UserError` that names the file if one is damaged."""
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
        alignment=alignment_runs(life),
    )


def origins(life: Life) -> dict[str, Path]:
    """Return the two files from which everything else in a life is derived."""
    return {"data": life.data("text") / "manifest.json", "tokenizer": life.tokenizer / "tokenizer.json"}


def maybe(path: Path) -> Any:
    """Return the file's JSON, or None if it does not exist."""
    if not path.exists():
        return None
    check_recorded(path, "create it again")
    return read_json(path)


def curve(path: Path) -> Curve | None:
    """Return the losses of a run, None if it has none; of a step repeated after a resume, the latest value counts.

    Of a run on two kinds of data, they are those of its main kind: documents in pre-training, its own data with replay.
    """
    events = events_of(path) if path.exists() else []
    finite = [event for event in events if event["event"] == "step" and event["loss"] is not None]  # null: not finite
    keys = {key for event in finite for key in event}
    main = next((key for key in ("document_loss", "own_loss") if key in keys), "loss")
    losses = {event["step"]: event[main] for event in finite}
    if not losses:
        return None
    held_out, replies = (
        tuple(sorted({one["step"]: one[key] for one in events if one["event"] == "val" and key in one}.items()))
        for key in ("val_bpb", "held_out_loss")
    )
    held_out = () if main == "own_loss" else held_out  # its documents are replayed: another scale than its loss
    tokens = max(event["tokens"] for event in events if event["event"] == "step")
    steps = tuple(sorted(losses))
    heads = tuple(sorted({one["step"]: one["induction"] for one in events if "induction" in one}.items()))
    return Curve(steps, tuple(losses[step] for step in steps), tokens, held_out, replies, heads)


def acts(life: Life) -> list[_Act]:
    """Return the cost of each act, in the order of a life; runs set aside do not count."""
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
    """Return the seconds of the latest run, summed over its resumed parts; each part's last event has its seconds."""
    parts: list[float] = []
    previous = None
    for event in events:
        if event["event"] == "start":
            parts = [0.0] if previous == "end" else [*parts, 0.0]  # a start after an end is a new run
        elif "seconds" in event and parts:
            parts[-1] = max(parts[-1], event["seconds"])
        previous = event["event"]
    return round(sum(parts), 2)
