"""Response to a step that diverges: stop, skip the batch, or rewind to a checkpoint."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.log import RunLog
from sayso.batch.batch import PADDING, Batch
from sayso.train.checkpoint import load_checkpoint
from sayso.train.loop import Diverged, State

REWINDS = 10  # maximum rewinds of a run; on data that is bad throughout it would rewind forever
SKIPS = 10  # maximum skipped batches in a row; beyond that, the model has diverged, not the batch


class Divergence:
    """The responses of one run: `then` is stop, skip or rewind; `parts` returns the batch of a number."""

    def __init__(self, then: str, parts: Callable[[int], Sequence[Batch]], checkpoints: Path, log: RunLog) -> None:
        self.then, self.parts, self.checkpoints, self.log = then, parts, checkpoints, log
        self.last = self.in_a_row = self.rewinds = 0

    def state_dict(self) -> dict[str, int]:
        """Return the counts of diverged steps, for a checkpoint."""
        return {"last": self.last, "in_a_row": self.in_a_row, "rewinds": self.rewinds}

    def load_state_dict(self, counts: Mapping[str, int]) -> None:
        """Restore the counts of a checkpoint; a missing one is 0."""
        self.last, self.in_a_row, self.rewinds = (counts.get(name, 0) for name in ("last", "in_a_row", "rewinds"))

    def skip(self, problem: Diverged) -> bool:
        """Log the divergence with its documents; return whether to skip the batch."""
        documents = {int(number) for part in self.parts(problem.batch) for number in part.documents.unique()}
        self.log.write(
            "diverged",
            step=problem.step,
            batch=problem.batch,
            documents=sorted(documents - {PADDING}),
            loss=_json(problem.loss),
            gradient_norm=_json(problem.gradient_norm),
            problem=str(problem),
            then=self.then,
        )
        self.in_a_row = self.in_a_row + 1 if problem.step == self.last + 1 else 1
        self.last = problem.step
        return self.then == "skip" and self.in_a_row <= SKIPS

    def rewind(self, problem: Diverged, state: State) -> bool:
        """If configured, rewind `state` to the newest checkpoint and skip the batches since; return whether it did."""
        self.rewinds += 1
        if self.then != "rewind" or self.rewinds > REWINDS or not load_checkpoint(state, self.checkpoints):
            return False
        state.skipped = problem.batch + 1 - state.step
        self.log.write("rewind", step=state.step, skipped=state.skipped)
        return True


def stopped(problem: Diverged, state: State) -> UserError:
    """Return the error of a run that stopped because a step diverged."""
    return UserError(
        f"Training stopped before an update that would have damaged the model, at {problem}; the weights of step "
        f"{state.step:,} are saved and the batch is in run.jsonl. Add --on-divergence skip to continue without it, or "
        "start from scratch with a lower --rate and --restart."
    )


def _json(value: float) -> float | str:
    """Return a number in a form that JSON can represent: a string if it is not finite."""
    return value if math.isfinite(value) else str(value)
