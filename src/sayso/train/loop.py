"""The training loop of every stage.

It takes batches as a pure function of the step, a loss that returns a sum and a count, and three callbacks:
`show` receives each step, `judge` is called periodically, `save` stores the state. The loop does not depend on the
stage. A step is the same whether the run was interrupted before or not: everything it depends on is in `State`.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.train.loss_stats import LossStats
from sayso.train.schedule import Schedule
from sayso.train.workers import PartialSum, worker_pool

_BatchT = TypeVar("_BatchT")
Loss = Callable[[Transformer, _BatchT], Term | tuple[Tensor, int, int]]
"""Loss of one part of a batch; a plain tuple is a `Term` without metrics."""
NORMS_EVERY = 10  # steps: measuring an update takes a copy of the weights


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """Training was asked to stop (Ctrl-C or SIGTERM); the state was saved first."""


class Diverged(Exception):  # noqa: N818 - an outcome, not a mistake
    """The loss of a step spiked, or it or its gradient is not finite; the weights are those before the step."""

    def __init__(self, step: int, batch: int, loss: float, gradient_norm: float, limit: float) -> None:
        super().__init__(f"step {step}: loss {loss:g} (limit {limit:.3g}), gradient norm {gradient_norm:g}")
        self.step, self.batch, self.loss, self.gradient_norm = step, batch, loss, gradient_norm


@dataclass
class State:
    """Everything that the next step depends on."""

    model: Transformer
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    """Updates done so far."""
    tokens: int = 0
    """Tokens trained on so far."""
    skipped: int = 0
    """Batches skipped after rewinds: the next batch has the number `step + skipped`."""
    lately: LossStats = field(default_factory=LossStats)
    """Recent losses, against which a spike is measured."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Other JSON-ready state needed to resume a run: saved with the state by the caller."""


@dataclass(frozen=True)
class StepRecord:
    """Report of one update."""

    step: int
    loss: float
    factor: float
    """Schedule factor on all peak rates."""
    gradient_norm: float
    """Gradient norm before clipping."""
    other_norms: dict[str, float]
    """Norms of separately clipped weights, by the name of their clip group."""
    tokens: int
    """Tokens seen so far in total."""
    seen: int
    """Tokens of this step."""
    count: int
    """Divisor of the loss: target tokens, or pairs."""
    trained: int
    """Target tokens of this step."""
    took: float
    """Seconds of this step alone, without evaluation and checkpoints."""
    seconds: float
    """Seconds since this call of `train` began."""
    norms: "Norms | None"
    """Every `NORMS_EVERY` steps; None in between, and if nothing was updated."""
    figures: dict[str, float]
    """Other metrics of the loss, each a mean over the step's items."""


@dataclass(frozen=True)
class Norms:
    """Size of the trained weights, and of one update."""

    parameter_norm: float
    """Euclidean norm of all trained weights after the update."""
    update_ratio: float
    """Norm of the update divided by `weights`."""


def train(
    state: State,
    parts: Callable[[int], Sequence[_BatchT]],
    loss: Loss[_BatchT],
    schedule: Schedule,
    *,
    until: int | None = None,
    clip: float = 1.0,
    judge: Callable[[State], None] | None = None,
    judge_every: int = 0,
    save: Callable[[State], None] | None = None,
    save_seconds: float = 60.0,
    show: Callable[[StepRecord], None] = lambda _: None,
    diverged: Callable[[Diverged], bool] = lambda _: False,
    processes: int = 1,
    precision: str = "fp32",
) -> State:
    """Update `state` until the step `until`, or the end of the schedule, and return it.

    `parts(number)` gives a batch in one or more parts, each of which fits in memory with its activations;
    `loss(model, part)` returns a `Term`. The parts of a step are distributed over `processes` (more than one only on a
    CPU); `precision` is that of matrix products, fp32 or bf16. The gradients of each clip group are scaled to a norm of
    at most `clip` (0 = off). Raises `Interrupted` after saving when asked to stop. A step whose loss spikes, or whose
    loss or gradient is not finite, updates nothing: it is skipped if `diverged` returns true, and raised otherwise.
    """
    began = saved = time.perf_counter()
    device = next(state.model.parameters()).device

    def gradient(step: int, which: slice) -> PartialSum:
        return _backward(state.model, parts(step)[which], loss, autocast(device, precision))

    with stop_requests() as stop, worker_pool(state.model, gradient, processes) as whole:
        while state.step < (schedule.steps if until is None else until):
            _heed(stop, state, save)
            started, factor = time.perf_counter(), schedule.factor(state.step)
            number = state.step + state.skipped
            summed = whole(number)
            assert summed.count, (
                "a step without a trained token reached the loop; batches are checked where they are made"
            )
            total = summed.loss / summed.count
            _divide(state.model, summed.count)
            clipped = _clip(state, clip)
            norm = next((one for one in clipped.values() if not math.isfinite(one)), clipped[""])
            norms, fits = None, _fits(total, norm, state.lately)
            if fits:
                norms = _update(state, factor, measure=(state.step + 1) % NORMS_EVERY == 0)
                state.lately = state.lately.after(total)
            _clear(state)
            if not fits and not diverged(problem := Diverged(state.step + 1, number, total, norm, state.lately.limit)):
                raise problem
            state.step += 1
            state.tokens += summed.tokens
            now = time.perf_counter()
            show(
                StepRecord(
                    step=state.step,
                    loss=total,
                    factor=factor,
                    gradient_norm=norm,
                    other_norms={name: one for name, one in clipped.items() if name},
                    tokens=state.tokens,
                    seen=summed.tokens,
                    count=summed.count,
                    trained=summed.trained,
                    took=now - started,
                    seconds=now - began,
                    norms=norms,
                    figures={name: total / items for name, (total, items) in summed.figures.items() if items},
                )
            )
            if judge and judge_every and state.step % judge_every == 0:
                judge(state)
            if save and time.perf_counter() - saved > save_seconds:
                save(state)
                saved = time.perf_counter()
        if state.step < schedule.steps:  # signaled in the last step of a segment, after which batches are gathered
            _heed(stop, state, save)
    return state


def _backward(
    model: Transformer,
    parts: Sequence[_BatchT],
    loss: Loss[_BatchT],
    cast: AbstractContextManager[object],
) -> PartialSum:
    """Add the gradients of the summed loss of some parts to the weights' gradients; return their totals."""
    terms = []
    for part in parts:
        with cast:
            term = Term(*loss(model, part))
        term.loss.backward()
        terms.append(term._replace(loss=term.loss.detach()))
    # read once per step: reading makes a GPU finish its queued work
    whole = PartialSum(0.0, 0, 0)
    for loss_, term in zip(torch.stack([term.loss for term in terms]).tolist() if terms else (), terms, strict=True):
        told = {name: (float(x.double().sum()), x.numel()) for name, x in term.figures.items()}
        trained = term.items if term.trained is None else term.trained
        whole = whole.plus(PartialSum(loss_, term.items, term.seen, told, trained))
    return whole


def _divide(model: Transformer, count: int) -> None:
    """Turn gradients of a sum into those of a mean, once, with the count of the whole step."""
    torch._foreach_div_([weight.grad for weight in model.parameters() if weight.grad is not None], count)


def _clip(state: State, limit: float) -> dict[str, float]:
    """Scale the gradients of each clip group to a norm of at most `limit` (0 = off) and return the unclipped norms.

    Parameter groups of the optimizers may name their clip group in `clip`, such as a value model's, whose large
    gradients must not shrink the policy's; all other weights are in the group "".
    must not shrink the policy's; all other weights are in the group "".
    """
    groups = (group for optimizer in state.optimizers for group in optimizer.param_groups)
    names = {weight: group["clip"] for group in groups if "clip" in group for weight in group["params"]}
    apart: dict[str, list[Tensor]] = {"": []}
    for weight in state.model.parameters():
        apart.setdefault(names.get(weight, ""), []).append(weight)
    most = limit or float("inf")
    return {name: float(torch.nn.utils.clip_grad_norm_(weights, most, foreach=True)) for name, weights in apart.items()}


def _fits(loss: float, gradient_norm: float, lately: LossStats) -> bool:
    """Whether a step is usable: finite, and no spike relative to recent losses."""
    return math.isfinite(loss) and math.isfinite(gradient_norm) and loss <= lately.limit


def _update(state: State, factor: float, *, measure: bool) -> Norms | None:
    """Update the weights by one step of each optimizer; return the update's norms if they are to be measured."""
    weights = [weight.detach() for weight in state.model.parameters() if weight.requires_grad]
    before = [weight.clone() for weight in weights] if measure else []
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        optimizer.step()
    if not measure:
        return None
    whole, moved = _norm(weights), _norm(list(torch._foreach_sub(weights, before)))
    return Norms(whole, moved / whole)


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def _clear(state: State) -> None:
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context for products in bfloat16 while weights, gradients and sums stay float32; no-op for fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _heed(stop: threading.Event, state: State, save: Callable[[State], None] | None) -> None:
    if stop.is_set():
        if save:
            save(state)
        raise Interrupted


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that the step completes; a second Ctrl-C stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals reach only the main thread
        return

    def ask(_number: int, _frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
