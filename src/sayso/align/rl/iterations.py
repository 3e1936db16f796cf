"""Iterations of reinforcement learning: sampling, rewarding and storing the rollouts that updates train on.

The training loop calls `gather` before the updates of an iteration, and `batch` for each update. The rollouts of an
iteration are first written, atomically, to `rollouts/` in the run's folder, and read again when a run is resumed, so
that it ends with the same weights as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from sayso.align.rl.experience import Credit, ReferenceModel, assign_credit, score_rollouts
from sayso.align.rl.figures import figures_of
from sayso.align.rl.sampling import GroupSampler, SampledGroups, derive_seed
from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.seal import seal, unseal
from sayso.batch.rollouts import RolloutBatch, RolloutRow, rollout_batch
from sayso.loss.kl import adapt_beta
from sayso.train.checkpoint import checkpoints_in, step_of
from sayso.train.loop import State

MEASURED = 16  # replies whose drift, entropy and KL are computed if they are only reported
HORIZON = 10_000.0  # replies in which the adaptive KL weight changes by at most a fifth (Ziegler et al. 2019)
ReportIteration = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Plan:
    """Settings of the iterations."""

    sampler: GroupSampler
    credit: Credit
    reference: ReferenceModel | None
    updates: int = 1
    """Number of updates per pass over the replies of an iteration."""
    passes: int = 1
    """Number of passes over them."""
    keep_cut: bool = True
    """Whether to train on truncated replies."""
    target_kl: float = 0.0
    """KL in nats per reply to which its weight is adapted; 0 = fixed weight."""
    sparse: bool = False
    """Whether to skip replies with an advantage of zero, which have no gradient if there is no other loss term."""
    on_policy: bool = False
    """Whether all replies are from the policy that is updated, so that log p_old need not be computed before."""
    seed: int = 0


@dataclass
class Iterations:
    """The iterations of one run."""

    plan: Plan
    folder: Path
    """The run's folder."""
    report: ReportIteration
    """Called with the step, number and metrics of an iteration before its updates; called again after a resume."""
    _number: int | None = field(default=None, init=False)
    _rows: list[RolloutRow] = field(default_factory=list, init=False)

    @property
    def steps(self) -> int:
        """Updates per iteration."""
        return self.plan.updates * self.plan.passes

    def gather(self, state: State) -> int:
        """Make or read the rollouts of the current iteration; return the step at which it ends."""
        number = (state.step + state.skipped) // self.steps
        if number != self._number:
            path = self._path(number)
            if not path.exists():
                self._make(state, number)
            header, *rows = _read(path)
            self.report(state.step, number, header["figures"])
            self._number, self._rows = number, [RolloutRow(**row["said"]) for row in rows]
            self._remove_old()
        return (number + 1) * self.steps - state.skipped

    def batch(self, step: int) -> RolloutBatch:
        """Return the replies of an update, in a random order of each pass over the iteration."""
        number, update = divmod(step, self.steps)
        assert number == self._number, "an iteration is gathered before it is trained on"
        turn, piece = divmod(update, self.plan.updates)
        generator = torch.Generator().manual_seed(derive_seed(self.plan.seed, number, turn))
        order = torch.randperm(len(self._rows), generator=generator)
        return rollout_batch([self._rows[row] for row in order.tensor_split(self.plan.updates)[piece].tolist()])

    def header(self, number: int) -> dict[str, Any]:
        """Return the header of an iteration's file; of one that does not exist, the initial values."""
        path = self._path(number)
        if number < 0 or not path.exists():
            return {"next_prompt": 0, "next_beta": self.plan.credit.beta}
        return _read(path)[0]

    def _make(self, state: State, number: int) -> None:
        """Sample and score the rollouts of an iteration and write its file."""
        plan, previous, model = self.plan, self.header(number - 1), state.model
        began, training = time.perf_counter(), model.training
        model.eval()
        sampled = plan.sampler.sample(model, number, previous["next_prompt"])
        sampled_at = time.perf_counter()
        credit = replace(plan.credit, beta=previous["next_beta"])
        rows, figures = self._scored(sampled, credit, state)
        model.train(training)
        next_beta = self._next_beta(credit.beta, figures["kl"], len(rows))
        figures |= {"beta": credit.beta} if credit.beta else {}
        figures |= {"sampling_seconds": sampled_at - began, "measuring_seconds": time.perf_counter() - sampled_at}
        header = {
            "iteration": number,
            "next_prompt": previous["next_prompt"] + sampled.prompts,
            "next_beta": next_beta,
            "figures": {name: value for name, value in figures.items() if not math.isnan(value)},
            "rows": len(rows),
        }
        write_jsonl(self._path(number), [seal(row) for row in (header, *rows)])

    def _scored(
        self, sampled: SampledGroups, credit: Credit, state: State
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Return the rows of an iteration's file and its metrics."""
        plan, rollouts, scores = self.plan, sampled.rollouts, sampled.scores
        measured = rollouts[:MEASURED] if plan.on_policy else rollouts
        scored = score_rollouts(state.model, measured, plan.sampler.temperature, plan.reference)
        replies = scored.rows
        if plan.on_policy:
            replies = [RolloutRow(one.prompt, one.ids, one.sampled) for one in rollouts]
        replies, explained = assign_credit(credit, replies, scores)
        rows = [
            {"reply": one.text, "reward": score, "parts": earned.parts, "ended": one.ended, "said": asdict(row)}
            for one, score, earned, row in zip(
                rollouts, scores.flatten().tolist(), sampled.rewarded, replies, strict=True
            )
            if any(row.trained) and (one.ended or plan.keep_cut)
        ]
        with_gradient = [row for row in rows if any(row["said"]["advantages"])]
        if plan.sparse and len(with_gradient) >= plan.updates:
            rows = with_gradient
        if len(rows) < plan.updates:
            raise UserError(
                f"Each update needs a reply to train on; {len(rows)} of {len(rollouts)} replies are left for "
                f"{plan.updates} updates, the others were truncated: raise --max-tokens, or omit --no-keep-cut."
            )
        return rows, figures_of(sampled, scored) | {"explained_variance": explained}

    def _next_beta(self, beta: float, kl: float, replies: int) -> float:
        return adapt_beta(beta, kl, self.plan.target_kl, replies, HORIZON) if self.plan.target_kl else beta

    def _path(self, number: int) -> Path:
        return self.folder / "rollouts" / f"{number:06d}.jsonl"

    def _remove_old(self) -> None:
        """Remove the files that no checkpoint needs; an iteration also needs the header of the previous one."""
        checkpoints = checkpoints_in(self.folder / "checkpoints")
        oldest = step_of(checkpoints[0]) // self.steps if checkpoints else 0
        for path in self._path(0).parent.glob("*.jsonl"):
            if int(path.stem) < oldest - 1:
                path.unlink()


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the header and the rows of an iteration's file."""
    try:
        header, *rows = (unseal(row) for row in read_jsonl(path))
        if header.get("rows", len(rows)) != len(rows):
            raise ValueError(f"it has {len(rows)} of {header['rows']} rows")
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"The rollouts in '{path}' are damaged ({error}); start from scratch with --restart."
        ) from error
    return [header, *rows]
