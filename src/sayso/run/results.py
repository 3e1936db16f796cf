"""What an act returns: paths and figures, as small frozen dataclasses that read well in a notebook."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.weights.lineage import read_lineage


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    model: Path
    """The model's folder."""
    run: Path
    """The run's folder, which holds its config and its log."""
    figures: dict[str, Any]
    """Steps, tokens and the last figures that were measured while training, such as `val_bpb`."""
    finished_before: bool = False
    """Whether the model was trained already with these options, so that nothing was done."""
    others: tuple["Trained", ...] = ()
    """The other members of an ensemble."""


@dataclass(frozen=True)
class Written:
    """A file, or the folder of a model, that an act wrote without training."""

    path: Path
    figures: dict[str, Any] = field(default_factory=dict)
    finished_before: bool = False
    """Whether it was there already, so that nothing was done."""


def trained(life: Life, act: str, name: str, *, finished_before: bool = False) -> Trained:
    """Return what the run `act-name` left: its model, and the figures of its lineage and its log."""
    model, run = life.model(name), life.run(f"{act}-{name}")
    figures: dict[str, Any] = {}
    for event in read_log(run / "run.jsonl"):
        if event["event"] in ("val", "round"):
            figures |= {key: value for key, value in event.items() if isinstance(value, int | float) and key != "step"}
    return Trained(model, run, figures | read_lineage(model).get("metrics", {}), finished_before)
