"""What pretrain, finetune and align share: a run that can be interrupted, gone on with, and told from another.

`plan.json` in the run's folder holds the options as given, the fingerprints of what went in, and what was derived.
The same command on the same inputs goes on with the stored plan, so that even a budget measured in minutes resumes to
the very same weights; a finished run is left alone; a finished run whose options or inputs changed is kept beside the
new one under a number.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from sayso.base.config import plain
from sayso.base.device import Device
from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256, write_json
from sayso.base.life import Life
from sayso.base.log import Progress, RunLog, read_log, say
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.checkpoint import load_checkpoint, save_checkpoint
from sayso.train.loop import Diverged, Interrupted, Shown, State, train
from sayso.train.measure import seconds_per_step
from sayso.train.schedule import Schedule


class HasIds(Protocol):
    """A batch, of whatever kind: it has token ids."""

    @property
    def ids(self) -> Tensor:
        """Token ids, one row a sequence."""
        ...


class HasBatches(Protocol):
    """Batches as a pure function of the step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...


BatchT = TypeVar("BatchT", bound=HasIds)
Derived = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One training run of a life: which act makes which model, and from what."""

    life: Life
    act: str
    name: str
    """The model it makes."""
    options: Derived
    """The options as given, JSON-ready."""
    inputs: dict[str, str]
    """Fingerprints of what goes in: data, tokenizer, parent."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.life.run(f"{self.act}-{self.name}")

    def plan(self, derive: Callable[[], Derived], restart: bool) -> Derived | None:
        """Return what was derived for this run, from its folder or anew; None when the run is finished already.

        Raises `UserError` when an unfinished run has other options or inputs and `restart` is false.
        """
        path = self.folder / "plan.json"
        asked = {"options": self.options, "inputs": self.inputs}
        if path.exists():
            stored = read_json(path)
            same = all(stored[key] == asked[key] for key in asked)
            if same and not restart:
                return None if self.finished() else dict(stored["derived"])
            if not restart and not self.finished() and (self.folder / "checkpoints").exists():
                raise UserError(
                    f"'{self.folder}' holds an unfinished run with other {_difference(stored, asked)}; "
                    "repeat its options to go on with it, or add --restart to begin anew."
                )
            self._set_aside()
        derived = derive()
        write_json(path, {**asked, "derived": derived})
        return derived

    def finished(self) -> bool:
        """Whether the model of this very run is there."""
        lineage = self.life.model(self.name) / "sayso.json"
        log = read_log(self.folder / "run.jsonl")
        return lineage.exists() and bool(log) and log[-1]["event"] == "end"

    def lineage(self, stage: str, parent: Path | None, derived: Derived, state: State) -> dict[str, Any]:
        """Return what the model's sayso.json tells: stage, parent, data, config, seed and figures."""
        parent_lineage = read_json(parent / "sayso.json") if parent and (parent / "sayso.json").exists() else {}
        return {
            "stage": stage,
            "parent": f"{parent.name} {parent_lineage.get('weights_sha256', '')[:12]}".strip() if parent else None,
            "data": [f"{name} {mark[:12]}" for name, mark in self.inputs.items()],
            "config": {**self.options, **derived},
            "seed": self.options["seed"],
            "metrics": {"steps": state.step, "tokens": state.tokens},
        }

    def _set_aside(self) -> None:
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}.{number}")).exists():
            number += 1
        self.folder.replace(aside)

    def train(
        self,
        state: State,
        parts: Callable[[int], Sequence[BatchT]],
        loss: Callable[[Transformer, BatchT], tuple[Tensor, int, int]],
        schedule: Schedule,
        log: RunLog,
        *,
        judge: Callable[[State], dict[str, float]] | None = None,
        judge_every: int = 0,
        save_seconds: float = 60.0,
        skip_diverged: bool = False,
        processes: int = 1,
    ) -> None:
        """Train `state` to the schedule's end, from the newest checkpoint if there is one, logging every step.

        Ctrl-C and SIGTERM save, say how to go on, and raise `KeyboardInterrupt`. A step that diverges is logged with
        its token ids; it is left out with `skip_diverged`, and otherwise a `UserError` after the state was saved.
        """
        checkpoints = self.folder / "checkpoints"
        if load_checkpoint(state, checkpoints):
            say(f"Going on from step {state.step:,} of {schedule.steps:,}.")
            log.write("resume", step=state.step)
        with Progress(schedule.steps, "step") as line:

            def show(shown: Shown) -> None:
                log.write(
                    "step",
                    step=shown.step,
                    steps=schedule.steps,
                    loss=round(shown.loss, 5),
                    lr=round(shown.factor, 5),
                    gradient_norm=round(shown.gradient_norm, 4),
                    tokens=shown.tokens,
                    seconds=round(shown.seconds, 3),
                )
                line.update(shown.step, loss=shown.loss)

            def diverged(problem: Diverged) -> bool:
                ids = [part.ids.tolist() for part in parts(problem.step - 1)]
                log.write("diverged", step=problem.step, problem=str(problem), ids=ids, left_out=skip_diverged)
                return skip_diverged

            def judged(state: State) -> None:
                assert judge is not None
                log.write("val", step=state.step, **judge(state))

            try:
                train(
                    state,
                    parts,
                    loss,
                    schedule,
                    judge=judged if judge else None,
                    judge_every=judge_every,
                    save=lambda state: _save(state, checkpoints),
                    save_seconds=save_seconds,
                    show=show,
                    diverged=diverged,
                    processes=processes,
                )
            except Diverged as problem:
                _save(state, checkpoints)
                raise UserError(
                    f"Training stopped before an update that would have spoiled the model, at {problem}; the weights "
                    f"of step {state.step:,} are saved and the batch is in run.jsonl. Add --skip-diverged to go on "
                    "without it, or begin anew with a lower --rate and --restart."
                ) from problem
            except Interrupted:
                say(f"Stopped and saved at step {state.step:,} of {schedule.steps:,}; the same command goes on.")
                raise KeyboardInterrupt from None


def make_stage(life: Life, act: str, name: str, options: Any, inputs: dict[str, Path]) -> Stage:
    """Return the stage of an options dataclass; `inputs` are files, told apart by their hash."""
    given = plain(options)
    for transient in ("restart", "life", "skip_diverged"):
        given.pop(transient, None)
    return Stage(life, act, name, given, {key: sha256(path) for key, path in inputs.items() if path.exists()})


def processes_for(asked: int | None, rows: int, device: Device) -> int:
    """Return how many processes share a step of `rows` rows: as asked, or one a core where they can be forked."""
    if asked is not None and not 1 <= asked <= rows:
        raise UserError(f"--processes is from 1 to the rows of a batch ({rows}); got {asked}.")
    can = device.kind == "cpu" and sys.platform == "linux"
    if asked not in (None, 1) and not can:
        raise UserError("--processes above 1 shares a step among the cores of a CPU on Linux; leave it away here.")
    return asked or (min(device.threads, rows) if can else 1)


def shared_out(batches: HasBatches, processes: int) -> Callable[[int], Sequence[Batch]]:
    """Return what gives each step's batch in as many parts as there are processes."""
    return lambda step: batches.batch(step).split(processes)


def batch_loss(device: Device) -> Callable[[Transformer, Batch], tuple[Tensor, int, int]]:
    """Return the next-token loss of a batch as the loop wants it: sum, count, tokens seen."""

    def loss(model: Transformer, batch: Batch) -> tuple[Tensor, int, int]:
        ids, targets, documents = (part.to(device.kind) for part in (batch.ids, batch.targets, batch.documents))
        return *next_token_loss(model, ids, targets, documents), ids.numel()

    return loss


def steps_in_minutes(minutes: float, config: ModelConfig, batches: HasBatches, device: Device, processes: int) -> int:
    """Return how many steps on these batches this machine does in so many minutes, measured."""
    if minutes <= 0:
        raise UserError(f"--minutes is more than 0; got {minutes:g}.")
    parts = shared_out(batches, processes)
    try:
        seconds = seconds_per_step(config, parts, batch_loss(device), device.kind, processes)
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))


def _save(state: State, folder: Path) -> None:
    save_checkpoint(state, folder)


def _difference(stored: Derived, asked: Derived) -> str:
    changed = [
        f"{key} ({stored[part].get(key)} then, {asked[part].get(key)} now)" if part == "options" else key
        for part in ("options", "inputs")
        for key in sorted({*stored[part], *asked[part]})
        if stored[part].get(key) != asked[part].get(key)
    ]
    return ", ".join(changed)
