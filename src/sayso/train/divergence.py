"""What a run does with a step that diverges: stop, leave the batch out, or go back to a checkpoint; told in its log."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.log import RunLog
from sayso.batch.batch import PADDING, Batch
from sayso.train.checkpoint import load_checkpoint
from sayso.train.loop import Diverged, State

REWINDS = 10  # times that a run may go back before it is stopped: data that is bad throughout would never end
SKIPS = 10  # batches in a row that may be left out: after more, not the batches but the model is what diverged


class Divergence:
    """The answers of one run; `then` is stop, skip or rewind, `parts` gives the batch of a number."""

    def __init__(self, then: str, parts: Callable[[int], Sequence[Batch]], checkpoints: Path, log: RunLog) -> None:
        self.then, self.parts, self.checkpoints, self.log = then, parts, checkpoints, log
        self.last = self.in_a_row = self.rewinds = 0

    def memory(self) -> dict[str, int]:
        """Return how often and when a step diverged, for a checkpoint."""
        return {"last": self.last, "in_a_row": self.in_a_row, "rewinds": self.rewinds}

    def recall(self, memory: Mapping[str, int]) -> None:
        """Go on from what `memory` returned; from nothing where a checkpoint has none."""
        self.last, self.in_a_row, self.rewinds = (memory.get(name, 0) for name in ("last", "in_a_row", "rewinds"))

    def leave_out(self, problem: Diverged) -> bool:
        """Log what diverged and on which documents; return whether to go on without the batch."""
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

    def go_back(self, problem: Diverged, state: State) -> bool:
        """Fill `state` from the newest checkpoint, past the batches since, if that is to be; return whether it was."""
        self.rewinds += 1
        if self.then != "rewind" or self.rewinds > REWINDS or not load_checkpoint(state, self.checkpoints):
            return False
        state.skipped = problem.batch + 1 - state.step
        self.log.write("rewind", step=state.step, skipped=state.skipped)
        return True


def stopped(problem: Diverged, state: State) -> UserError:
    """Return what a person is told of a run that stopped at a step that diverged."""
    return UserError(
        f"Training stopped before an update that would have spoiled the model, at {problem}; the weights of step "
        f"{state.step:,} are saved and the batch is in run.jsonl. Add --on-divergence skip to go on without it, or "
        "begin anew with a lower --rate and --restart."
    )


def _json(value: float) -> float | str:
    """Return a number as JSON has it; it has no word for what is not finite."""
    return value if math.isfinite(value) else str(value)
