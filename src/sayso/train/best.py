"""The weights that were judged best while a run went on: kept on disk, and taken at its end.

What a model is trained on says little of whether it got better: a reward can be fooled, a loss learned by heart. So a
run that is judged on something else leaves the weights of its best judgement, those it began with among them.
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
from sayso.train.checkpoint import trained
from sayso.train.loop import State
from sayso.weights.tensors import read_tensors

FILE = "model.safetensors"


@dataclass(frozen=True)
class Best:
    """The best weights of one run, in its folder."""

    folder: Path
    """The run's."""
    figure: str
    """Of a judgement, the one that decides: its largest is best; its smallest with a minus sign before the name."""

    @property
    def path(self) -> Path:
        """Where they lie."""
        return put_back(self.folder / "best")

    def told(self) -> dict[str, Any] | None:
        """Return the `step` and `value` of the best judgement so far; None before the first."""
        return read_object(self.path / "best.json", "step", "figure", "value") if self.path.exists() else None

    def offer(self, state: State, judgement: Mapping[str, Any]) -> None:
        """Keep the weights if they were judged better than those before."""
        value, before = float(judgement[self.figure.lstrip("-")]), self.told()
        sign = -1 if self.figure.startswith("-") else 1
        if before is not None and not sign * value > sign * before["value"]:
            return
        with atomic_folder(self.path) as part:
            weights = {name: weight.detach().cpu().contiguous() for name, weight in trained(state).items()}
            save_file(weights, part / FILE)
            told = {"step": state.step, "figure": self.figure, "value": value, "sha256": sha256(part / FILE)}
            write_json(part / "best.json", told, sealed=True)

    def restore(self, state: State) -> dict[str, Any]:
        """Fill the model with the best weights and return what they were judged."""
        told = self.told()
        assert told is not None
        if "sha256" in told:
            check_digest(self.path / FILE, told["sha256"], "begin again with --restart")
        kept = read_tensors(self.path / FILE)
        with torch.no_grad():
            for name, weight in trained(state).items():
                weight.copy_(kept[name])
        return told
