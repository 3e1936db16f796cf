"""The weights of a run's best evaluation: kept on disk and loaded at the end of the run.

Training metrics say little about real improvement: rewards can be hacked and training data memorized. The initial
weights are candidates too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sayso.base.files import atomic_folder, read_object, sha256, write_json
from sayso.base.intact import check_digest
from sayso.base.replace import put_back
from sayso.train.checkpoint import copied_weights, trained_weights
from sayso.train.loop import State
from sayso.weights.tensors import read_tensors

_FILE = "model.safetensors"


@dataclass(frozen=True)
class Best:
    """The best weights of one run, in its folder."""

    folder: Path
    """The run's folder."""
    figure: str
    """Name of the metric: the largest value is best, or the smallest with a leading minus sign."""

    @property
    def path(self) -> Path:
        """Path of the weights."""
        return put_back(self.folder / "best")

    def read(self) -> dict[str, Any] | None:
        """Return the `step` and `value` of the best evaluation so far; None before the first."""
        return read_object(self.path / "best.json", "step", "figure", "value") if self.path.exists() else None

    def offer(self, state: State, judgement: Mapping[str, Any]) -> None:
        """Save the weights if their evaluation is better than all earlier ones."""
        value, before = float(judgement[self.figure.lstrip("-")]), self.read()
        sign = -1 if self.figure.startswith("-") else 1
        if before is not None and not sign * value > sign * before["value"]:
            return
        with atomic_folder(self.path) as part:
            save_file(copied_weights(state), part / _FILE)
            record = {"step": state.step, "figure": self.figure, "value": value, "sha256": sha256(part / _FILE)}
            write_json(part / "best.json", record, sealed=True)

    def restore(self, state: State) -> dict[str, Any]:
        """Load the best weights into the model and return their evaluation."""
        record = self.read()
        assert record is not None, "weights are offered before they are restored"
        if "sha256" in record:
            check_digest(self.path / _FILE, record["sha256"], "start from scratch with --restart")
        kept = read_tensors(self.path / _FILE)
        with torch.no_grad():
            for name, weight in trained_weights(state).items():
                weight.copy_(kept[name])
        return record
