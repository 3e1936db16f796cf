"""Weights kept from the course of a run: untrained, and after 1/2, 1/4, 1/8 ... of its steps, as model folders.

    runs/pretrain-base/snapshots/step-000500/   a model folder, which every command can open by its path

A model learns most in its first steps, so halves tell more than equal parts. The last weights are the model itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import disk_full
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
        """Save the weights if this is one of the steps. Raises `UserError` if the disk is full."""
        if state.step not in self.steps:
            return
        path = self.folder / FOLDER / f"step-{state.step:06d}"
        try:
            self.save(state, path)
        except Exception as error:
            if not disk_full(error):
                raise
            raise UserError(
                f"The disk is full: the weights of step {state.step:,} could not be kept in '{path}' ({error}). Free "
                "some space, or use --snapshots 0 to keep no more, and repeat the command to resume."
            ) from None

    def ahead(self) -> list[int]:
        """Return the steps that the run has not passed, as its newest checkpoint tells."""
        passed = max(map(step_of, checkpoints_in(self.folder / "checkpoints")), default=-1)
        return [step for step in self.steps if step > passed]


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
