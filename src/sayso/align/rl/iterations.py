"""Iterations of reinforcement learning before training: sample, reward, measure, store.

`gather` is called by the stage before an iteration's updates, `batch` gives these their rows. Everything that an
iteration trains on is written to `rollouts/` of the run's folder first, whole or not at all, and read again when the
run is gone on with: interrupted or not, it ends with the same weights.
"""

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
from sayso.train.checkpoint import checkpoints_in
from sayso.train.loop import State

MEASURED = 16  # replies whose drift, entropy and KL are told where nothing is learned from these
HORIZON = 10_000.0  # replies over which the adaptive KL moves by its fifth (Ziegler et al. 2019)
Tell = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Plan:
    """How iterations go."""

    drawing: GroupSampler
    credit: Credit
    reference: ReferenceModel | None
    updates: int = 1
    """Into how many updates an iteration's replies are cut."""
    passes: int = 1
    """How often they are learned from."""
    keep_cut: bool = True
    """Whether replies that were cut are learned from."""
    target_kl: float = 0.0
    """Nats a reply that the weight of the KL is adapted to; 0 = the weight is fixed."""
    sparse: bool = False
    """Whether replies whose advantage is zero are left out: nothing but the advantage asks anything of them."""
    on_policy: bool = False
    """Whether nothing has to be measured before the update: log p_old is log p."""
    seed: int = 0


@dataclass
class Iterations:
    """The iterations of one run."""

    plan: Plan
    folder: Path
    """The run's."""
    tell: Tell
    """Called with the step before an iteration's updates, its number and its figures; again after a resume."""
    _number: int | None = field(default=None, init=False)
    _rows: list[RolloutRow] = field(default_factory=list, init=False)

    @property
    def steps(self) -> int:
        """Updates of an iteration."""
        return self.plan.updates * self.plan.passes

    def gather(self, state: State) -> int:
        """Make or read the rollouts of the iteration that begins or goes on here; return the step that ends it."""
        number = (state.step + state.skipped) // self.steps
        if number != self._number:
            path = self._path(number)
            if not path.exists():
                self._make(state, number)
            self.tell(state.step, number, self.head(number)["figures"])
            self._number, self._rows = number, _read(path)
            self._tidy()
        return (number + 1) * self.steps - state.skipped

    def batch(self, step: int) -> RolloutBatch:
        """Return the replies of an update: each pass over an iteration has an order of its own."""
        number, place = divmod(step, self.steps)
        assert number == self._number, "an iteration is gathered before it is trained on"
        turn, piece = divmod(place, self.plan.updates)
        generator = torch.Generator().manual_seed(derive_seed(self.plan.seed, number, turn))
        order = torch.randperm(len(self._rows), generator=generator)
        return rollout_batch([self._rows[row] for row in order.tensor_split(self.plan.updates)[piece].tolist()])

    def head(self, number: int) -> dict[str, Any]:
        """Return what an iteration's file says of the whole; what comes before the first of one that is not there."""
        path = self._path(number)
        if number < 0 or not path.exists():
            return {"next_prompt": 0, "next_beta": self.plan.credit.beta}
        return _rows(path)[0]

    def _make(self, state: State, number: int) -> None:
        plan, before, model = self.plan, self.head(number - 1), state.model
        began, training = time.perf_counter(), model.training
        model.eval()
        drawn = plan.drawing.draw(model, number, before["next_prompt"])
        sampled = time.perf_counter()
        credit = replace(plan.credit, beta=before["next_beta"])
        rows, figures = self._learned(drawn, credit, state)
        model.train(training)
        told = {**figures, "beta": credit.beta} if credit.beta else figures
        told |= {"sampling_seconds": sampled - began, "measuring_seconds": time.perf_counter() - sampled}
        told = {name: value for name, value in told.items() if value == value}  # what has no value is not told
        head = {
            "iteration": number,
            "next_prompt": before["next_prompt"] + drawn.asked,
            "next_beta": self._next_beta(credit.beta, figures["kl"], len(rows)),
            "figures": told,
        }
        write_jsonl(self._path(number), [seal(row) for row in ({**head, "rows": len(rows)}, *rows)])

    def _learned(
        self, drawn: SampledGroups, credit: Credit, state: State
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Return the rows of an iteration's file and its figures."""
        plan, rollouts = self.plan, drawn.rollouts
        temperature = plan.drawing.temperature
        some = rollouts[:MEASURED] if plan.on_policy else rollouts
        measured = score_rollouts(state.model, some, temperature, plan.reference)
        said = (
            measured.rows if not plan.on_policy else [RolloutRow(one.prompt, one.ids, one.sampled) for one in rollouts]
        )
        said, explained = assign_credit(credit, said, drawn.scores)
        rows = [
            {"reply": one.text, "reward": score, "parts": earned.parts, "ended": one.ended, "said": asdict(row)}
            for one, score, earned, row in zip(
                rollouts, drawn.scores.flatten().tolist(), drawn.rewarded, said, strict=True
            )
            if any(row.trained) and (one.ended or plan.keep_cut)
        ]
        teaching = [row for row in rows if any(row["said"]["advantages"])]
        if plan.sparse and len(teaching) >= plan.updates:
            rows = teaching
        if len(rows) < plan.updates:
            raise UserError(
                f"An update needs a reply to learn from; of {len(rollouts)} replies {len(rows)} are left for "
                f"{plan.updates} updates, the others were cut: raise --max-tokens, or omit --no-keep-cut."
            )
        return rows, figures_of(drawn, measured) | {"explained_variance": explained}

    def _next_beta(self, beta: float, kl: float, replies: int) -> float:
        return adapt_beta(beta, kl, self.plan.target_kl, replies, HORIZON) if self.plan.target_kl else beta

    def _path(self, number: int) -> Path:
        return self.folder / "rollouts" / f"{number:06d}.jsonl"

    def _tidy(self) -> None:
        """Remove what no checkpoint goes on from; the iteration before one says where its prompts begin."""
        whole = checkpoints_in(self.folder / "checkpoints")
        oldest = int(whole[0].name.removeprefix("step-")) // self.steps if whole else 0
        for path in self._path(0).parent.glob("*.jsonl"):
            if int(path.stem) < oldest - 1:
                path.unlink()


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an iteration's file, the head first."""
    try:
        head, *rows = (unseal(row) for row in read_jsonl(path))
        if head.get("rows", len(rows)) != len(rows):
            raise ValueError(f"it has {len(rows)} rows of {head['rows']}")
    except (ValueError, AttributeError) as error:
        raise UserError(f"The rollouts in '{path}' are damaged ({error}); begin again with --restart.") from error
    return [head, *rows]


def _read(path: Path) -> list[RolloutRow]:
    _, *rows = _rows(path)
    return [RolloutRow(**row["said"]) for row in rows]
