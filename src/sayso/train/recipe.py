"""Trains a state by a recipe, in a run's folder, with a log, checkpoints, evaluations and the best weights.

An interrupted and resumed run ends with exactly the same weights as an uninterrupted one.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sayso.base.device import deterministic, fast_bf16_cpu
from sayso.base.errors import UserError
from sayso.base.files import disk_full
from sayso.base.log import Progress, RunLog, say
from sayso.batch.batch import Batch, HasBatches
from sayso.train.best import Best
from sayso.train.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint, step_of
from sayso.train.divergence import Divergence, stopped
from sayso.train.layout import Layout
from sayso.train.loop import Diverged, Hooks, Interrupted, Loss, State, train
from sayso.train.mirrors import mirrored
from sayso.train.oom import explain_out_of_memory
from sayso.train.options import Training
from sayso.train.rng import seed_all
from sayso.train.schedule import Schedule
from sayso.train.step_log import Evaluation, StepLog
from sayso.train.watch import Watch


@dataclass(frozen=True)
class Recipe:
    """What a run trains on, for how long, and how it is evaluated."""

    batches: HasBatches
    loss: Loss[Batch]
    schedule: Schedule
    evaluation: Evaluation | None = None
    gather: Callable[[State], int] | None = None
    """Makes batches from the model's own samples, see `Hooks.gather`."""
    watch: Watch | None = None
    """Warns about suspicious metrics, such as a growing KL divergence."""
    after: Callable[[State], None] = lambda _: None
    """Receives the initial state and that after each step, such as `Snapshots.offer`; see `Hooks.after`."""


def run_recipe(state: State, recipe: Recipe, layout: Layout, options: Training, log: RunLog, folder: Path) -> None:
    """Train `state` to the end of the schedule, from the newest checkpoint in `folder` if there is one.

    Every step is logged. Ctrl-C and SIGTERM save the state and raise `KeyboardInterrupt`. Raises `UserError` if a step
    diverges, unless `options` say to skip it or to rewind.
    """
    state.model.recompute = options.recompute
    kind = next(state.model.parameters()).device.type
    if kind == "cpu":
        _prepare_cpu(layout)
    seed_all(options.seed)
    run = _Run(state, recipe, layout, options, log, folder)
    config = {**options.recorded, **vars(layout)}
    with ExitStack() as stack:
        first_batch = partial(recipe.batches.batch, 0)
        shape = (state.model.config, first_batch, layout, kind)
        stack.enter_context(explain_out_of_memory(*shape, recompute=options.recompute))
        stack.enter_context(deterministic(options.deterministic))
        mirrors = stack.enter_context(mirrored(options.mirror, folder, config))
        line = stack.enter_context(Progress(recipe.schedule.steps, "step"))
        run.train(StepLog(log, line, state, recipe.schedule.steps, layout, mirrors, run.watch))


class _Run:
    """The part of a run that one command does: the entire run, or what is left of an interrupted one."""

    def __init__(
        self, state: State, recipe: Recipe, layout: Layout, options: Training, log: RunLog, folder: Path
    ) -> None:
        """Resume from the newest checkpoint."""
        self.state, self.recipe, self.layout, self.options, self.log = state, recipe, layout, options, log
        self.checkpoints, self.parts = folder / "checkpoints", layout.of(recipe.batches)
        self.watch = recipe.watch or Watch(())
        self.divergence = Divergence(options.on_divergence, self.parts, self.checkpoints, log)
        evaluation = recipe.evaluation
        self.best = Best(folder, evaluation.best) if evaluation and evaluation.best else None
        self.resumed = load_checkpoint(state, self.checkpoints, self._report_broken)
        if self.resumed:
            self.divergence.load_state_dict(state.notes.get("divergence", {}))
            self.watch.load_state_dict(state.notes.get("watch", {}))
            say(f"Resuming from step {state.step:,} of {recipe.schedule.steps:,}.")
            log.write("resume", step=state.step)

    def train(self, steps: StepLog) -> None:
        """Train to the end and restore the best weights."""
        evaluation = self.recipe.evaluation
        judge = steps.judged(evaluation, self.best) if evaluation else None
        if self.best and judge and not (self.resumed and self.best.read()):
            judge(self.state)
        if not self.resumed:
            self.recipe.after(self.state)
        hooks = Hooks(
            show=steps.show,
            after=self.recipe.after,
            judge=judge,
            judge_every=evaluation.every if evaluation else 0,
            save=self._save,
            save_seconds=self.options.save_seconds,
            diverged=self.divergence.skip,
            gather=self.recipe.gather,
        )
        while self.state.step < self.recipe.schedule.steps:
            steps.begin()
            self._train(hooks)
        if self.best and evaluation and judge:
            if self.state.step % evaluation.every:
                judge(self.state)
            say(_restored(self.best.restore(self.state)))

    def _train(self, hooks: Hooks) -> None:
        """Train until the end or a rewind."""
        recipe, layout = self.recipe, self.layout
        try:
            train(
                self.state,
                self.parts,
                recipe.loss,
                recipe.schedule,
                hooks,
                processes=layout.processes,
                precision=layout.precision,
            )
        except Diverged as problem:
            if not self.divergence.rewind(problem, self.state):
                self._save(self.state)
                raise stopped(problem, self.state) from problem
        except Interrupted:
            say(f"Stopped at step {self.state.step:,} of {recipe.schedule.steps:,}; repeat the command to resume.")
            raise KeyboardInterrupt from None

    def _save(self, state: State) -> None:
        state.notes = {"divergence": self.divergence.state_dict(), "watch": self.watch.state_dict()}
        try:
            save_checkpoint(state, self.checkpoints, self.options.keep)
        except Exception as error:
            if not disk_full(error):
                raise
            raise _not_saved(error, state, self.checkpoints) from None

    def _report_broken(self, problem: str) -> None:
        """Report a broken checkpoint."""
        say(problem)
        self.log.write("broken_checkpoint", problem=problem)


def _prepare_cpu(layout: Layout) -> None:
    if layout.precision == "bf16" and not fast_bf16_cpu():
        say("This CPU has neither AMX nor AVX512-BF16, so bf16 is slower here than fp32.")
    if layout.threads:
        torch.set_num_threads(layout.threads)


def _restored(best: dict[str, Any]) -> str:
    initial = "" if best["step"] else ", the initial ones: no later evaluation was better"
    return f"Kept the weights of step {best['step']:,}{initial} ({best['figure'].lstrip('-')} {best['value']:.4g})."


def _not_saved(error: Exception, state: State, folder: Path) -> UserError:
    complete = checkpoints_in(folder)
    size = sum(file.stat().st_size for file in complete[-1].iterdir()) / 1e6 if complete else 0
    newest = f"that of step {step_of(complete[-1]):,} is complete ({size:,.1f} MB)" if complete else "there is no other"
    return UserError(
        f"The disk is full: the checkpoint of step {state.step:,} could not be written ({error}); {newest}. Free some "
        "space, or add --keep 1 to keep fewer, and repeat the command to resume."
    )
