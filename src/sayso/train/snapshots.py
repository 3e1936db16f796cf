"""Weights kept from the course of a run: untrained, and after 1/2, 1/4, 1/8 ... of its steps, as model folders.

    runs/pretrain-base/snapshots/step-000500/   a model folder, which every command can open by its path

A model learns most in its first steps, so halves tell more than equal parts. The last weights are the model itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sayso.base.life import Life
from sayso.train.checkpoint import checkpoints_in, step_of
from sayso.train.loop import State
from sayso.weights.lineage import read_lineage
from sayso.weights.models import run_of

FOLDER = "snapshots"


def snapshot_steps(steps: int, count: int) -> list[int]:
    """Return the at most `count` steps of a run after which weights are kept, 0 included unless `count` is 0."""
    halves = {steps >> power for power in range(1, count)}
    return sorted({0, *halves}) if count else []


@dataclass(frozen=True)
class Snapshots:
    """Keeps the weights of a run at some steps."""

    folder: Path
    """The run's folder."""
    steps: list[int]
    save: Callable[[State, Path], None]
    """Writes a model folder."""

    def offer(self, state: State) -> None:
        """Save the weights if this is one of the steps."""
        if state.step in self.steps:
            self.save(state, self.folder / FOLDER / f"step-{state.step:06d}")


def snapshots_of(life: Life, model: Path) -> dict[int, Path]:
    """Return the folders of the earlier weights that were kept from the run which made a model, by step.

    Those of another run of the same name are not among them; of weights that were kept themselves, only those before.
    """
    made = run_of(read_lineage(model))
    if not made:
        return {}
    folders = checkpoints_in(life.run(str(made.get("name"))) / FOLDER)
    found = {step_of(folder): folder for folder in folders if run_of(read_lineage(folder)) == made}
    own = next((step for step, folder in found.items() if folder.resolve() == model.resolve()), None)
    return {step: folder for step, folder in found.items() if own is None or step < own}
