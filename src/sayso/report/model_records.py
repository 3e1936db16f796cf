"""What a life's models are: stage, parent, size, what made each, its checkpoints, and what the gate found about it.

Takes the folder of a life; returns plain data for the page. A damaged record is named, and hides no other.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.weights.lineage import read_lineage
from sayso.weights.models import models, run_of

MARK = 12  # letters of a digest that are shown


@dataclass(frozen=True)
class ModelRecord:
    """One model; what is unknown is None."""

    name: str
    stage: str
    bytes: int
    """Size of the folder."""
    made: str
    """Time of its last change, ISO 8601."""
    weights: str | None = None
    """SHA-256 of its weights."""
    parent: str | None = None
    """Name of the model that it was made from."""
    parent_state: str | None = None
    """present, replaced (the life has other weights under that name now), or gone."""
    parameters: int | None = None
    run: str | None = None
    seed: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    bits: int | None = None
    """Bits of quantized weights."""
    data: list[str] = field(default_factory=list)
    problem: str | None = None


def model_records(life: Life) -> list[ModelRecord]:
    """Return the models of a life: stages first, in order."""
    names = models(life)
    lineages = {name: _lineage(life.model(name)) for name in names}
    return [_record(life.model(name), lineages) for name in names]


def _lineage(folder: Path) -> dict[str, Any] | UserError:
    try:
        return read_lineage(folder)
    except UserError as error:
        return error


def _record(folder: Path, lineages: dict[str, Any]) -> ModelRecord:
    lineage = lineages[folder.name]
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    size = sum(file.st_size for file in files)
    made = datetime.fromtimestamp(max(file.st_mtime for file in files), UTC).isoformat(timespec="seconds")
    if isinstance(lineage, UserError):
        return ModelRecord(folder.name, "unknown", size, made, problem=str(lineage))
    parent, _, mark = str(lineage.get("parent") or "").partition(" ")
    own = lineages.get(parent)
    same = isinstance(own, dict) and str(own.get("weights_sha256", "")).startswith(mark)
    quantized = lineage.get("config", {}).get("quantised") or {}
    return ModelRecord(
        name=folder.name,
        stage=str(lineage.get("stage", "unknown")),
        bytes=size,
        made=made,
        weights=lineage.get("weights_sha256"),
        parent=parent or None,
        parent_state=("present" if same else "replaced" if parent in lineages else "gone") if parent else None,
        parameters=lineage.get("parameters"),
        run=run_of(lineage).get("name"),
        seed=lineage.get("seed"),
        metrics=lineage.get("metrics", {}),
        bits=quantized.get("grid", {}).get("bits"),
        data=list(lineage.get("data", [])),
    )


def checkpoints(life: Life) -> list[dict[str, Any]]:
    """Return every checkpoint of the life's runs, the newest of each run first."""
    found = []
    for folder in sorted((life.root / "runs").glob("[!.]*/checkpoints/step-*")):
        step = folder.name.removeprefix("step-")
        if step.isdecimal():
            size = sum(file.stat().st_size for file in folder.iterdir())
            found.append({"run": folder.parent.parent.name, "step": int(step), "bytes": size})
    return sorted(found, key=lambda one: (one["run"], -one["step"]))


def gate_findings(life: Life) -> list[dict[str, Any]]:
    """Return what the gate found last about each candidate for each alias, newest first, without damaged records."""
    found = []
    for path in sorted(life.run("gate").glob("*.json")):
        try:
            found.append(read_object(path, "alias", "candidate", "findings", "verdict", "at"))
        except UserError:
            continue
    return sorted(found, key=lambda one: str(one["at"]), reverse=True)


def model_marks(life: Life) -> int:
    """Return a number that changes whenever a model, a score or a finding of the gate does."""
    patterns = ("models/*/config.json", "models/*/sayso.json", "runs/evaluate-*/*.json", "runs/gate/*.json")
    seen = []
    for path in sorted(path for pattern in patterns for path in life.root.glob(pattern)):
        try:
            seen.append((str(path), path.stat().st_mtime_ns))
        except OSError:
            continue
    return hash(tuple(seen))
