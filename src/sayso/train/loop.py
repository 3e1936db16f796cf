"""The training loop of every stage.

It takes batches as a pure function of the step, a loss that returns a sum and a count, and `Hooks` that report,
evaluate and save. Everything that a step depends on is in `State`, so an interrupted and resumed run takes the same
steps as an uninterrupted one.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

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
NORMS_EVERY = 10  # steps; measuring an update requires a copy of the weights


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """Training was stopped by Ctrl-C or SIGTERM; the state was saved first."""


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
    """Number of steps so far."""
    tokens: int = 0
    """Number of tokens seen so far."""
    skipped: int = 0
    """Batches skipped after rewinds: the next batch has the number `step + skipped`."""
    loss_stats: LossStats = field(default_factory=LossStats)
    """Statistics of recent losses, against which a spike is measured."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Other state needed to resume a run, JSON-ready: set by the caller, saved with the checkpoint."""


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
    """Tokens seen so far."""
    seen: int
    """Tokens seen in this step."""
    count: int
    """Divisor of the loss: target tokens, or pairs."""
    trained: int
    """Target tokens of this step."""
    took: float
    """Seconds of this step, without evaluation and checkpoints."""
    seconds: float
    """Seconds of this call of `train` so far, without gathering."""
    norms: "Norms | None"
    """Measured every `NORMS_EVERY` steps; None in between, and if nothing was updated."""
    figures: dict[str, float]
    """Other metrics of the loss, each a mean over the step's items."""


@dataclass(frozen=True)
class Norms:
    """Norms of the trained weights and of one update."""

    parameter_norm: float
    """Euclidean norm of all trained weights after the update."""
    update_ratio: float
    """Norm of the update divided by `parameter_norm`."""


@dataclass(frozen=True)
class Hooks:
    """Callbacks of `train`; by default it only updates weights."""

    show: Callable[[StepRecord], None] = lambda _: None
    """Receives each step."""
    after: Callable[[State], None] = lambda _: None
    """Receives the state after each step, before it is evaluated and saved; it may change the weights."""
    judge: Callable[[State], None] | None = None
    """Evaluates the state every `judge_every` steps."""
    judge_every: int = 0
    save: Callable[[State], None] | None = None
    """Stores the state every `save_seconds`, and before training stops on request."""
    save_seconds: float = 60.0
    diverged: Callable[[Diverged], bool] = lambda _: False
    """Returns whether to skip a step that diverged; otherwise `train` raises `Diverged`."""
    gather: Callable[[State], int] | None = None
    """Makes batches from the current model and returns the step up to which they last, at least one step further.

    Called before the first step and whenever that step is reached, in this process, before workers are forked. Ctrl-C
    or SIGTERM interrupts it at once; the state is then saved.
    """


def train(
    state: State,
    parts: Callable[[int], Sequence[_BatchT]],
    loss: Loss[_BatchT],
    schedule: Schedule,
    hooks: Hooks = Hooks(),
    *,
    clip: float = 1.0,
    processes: int = 1,
    precision: str = "fp32",
) -> State:
    """Update `state` until the end of the schedule, and return it.

    `parts(number)` gives a batch in one or more parts, each of which fits in memory with its activations;
    `loss(model, part)` returns a `Term`. The parts of a step are distributed over `processes` (more than one only on a
    CPU); `precision` is that of matrix products, fp32 or bf16. The gradients of each clip group are scaled to a norm of
    at most `clip` (0 = off). Ctrl-C and SIGTERM save the state and raise `Interrupted`. A step whose loss spikes, or
    whose loss or gradient is not finite, updates nothing: it is skipped if `hooks.diverged` returns true, and raises
    `Diverged` otherwise.
    """
    _Loop(state, parts, loss, schedule, hooks, clip, processes, precision).run()
    return state


@dataclass
class _Loop(Generic[_BatchT]):
    """One call of `train`: its arguments and its clock."""

    state: State
    parts: Callable[[int], Sequence[_BatchT]]
    loss: Loss[_BatchT]
    schedule: Schedule
    hooks: Hooks
    clip: float
    processes: int
    precision: str
    seconds: float = 0.0
    """Time spent on steps, without gathering."""
    started: float = 0.0
    """When the steps would have started without any time spent on gathering."""
    saved: float = field(default_factory=time.perf_counter)
    """Time of the last checkpoint."""

    def run(self) -> None:
        """Train to the end of the schedule, gathering batches in between."""
        with stop_requests() as stop:
            while self.state.step < self.schedule.steps:
                self._stop_if_requested(stop)
                until = self._gather()
                self.started = time.perf_counter() - self.seconds
                with worker_pool(self.state.model, self._gradient, self.processes) as summed:
                    while self.state.step < until:
                        self._stop_if_requested(stop)
                        self._step(summed)

    def _gather(self) -> int:
        """Make the next batches if necessary; return the step up to which they last."""
        if self.hooks.gather is None:
            return self.schedule.steps
        try:
            with _on_stop_signal(_interrupt):
                until = self.hooks.gather(self.state)
        except KeyboardInterrupt:
            self._save_and_stop()
        assert until > self.state.step, "gathered batches must last for at least one step"
        return min(until, self.schedule.steps)

    def _stop_if_requested(self, stop: threading.Event) -> None:
        if stop.is_set():
            self._save_and_stop()

    def _save_and_stop(self) -> NoReturn:
        if self.hooks.save:
            self.hooks.save(self.state)
        raise Interrupted from None

    def _gradient(self, number: int, which: slice) -> PartialSum:
        """Add the gradients of some parts of a batch to the model's; called in the workers too."""
        model = self.state.model
        device = next(model.parameters()).device
        return _backward(model, self.parts(number)[which], self.loss, autocast(device, self.precision))

    def _step(self, summed: Callable[[int], PartialSum]) -> None:
        """Do one update and report it; evaluate and save if it is time."""
        state, hooks = self.state, self.hooks
        began, factor = time.perf_counter(), self.schedule.factor(state.step)
        number = state.step + state.skipped
        total = summed(number)
        assert total.count, "a step without a trained token reached the loop; batches are checked where they are made"
        loss = total.loss / total.count
        _divide(state.model, total.count)
        clipped = _clip(state, self.clip)
        norm = next((one for one in clipped.values() if not math.isfinite(one)), clipped[""])
        norms, usable = None, _is_usable(loss, norm, state.loss_stats)
        if usable:
            norms = _update(state, factor, measure=(state.step + 1) % NORMS_EVERY == 0)
            state.loss_stats = state.loss_stats.after(loss)
        _clear(state)
        if not usable:
            problem = Diverged(state.step + 1, number, loss, norm, state.loss_stats.limit)
            if not hooks.diverged(problem):
                raise problem
        state.step += 1
        state.tokens += total.tokens
        now = time.perf_counter()
        self.seconds = now - self.started
        hooks.show(
            StepRecord(
                step=state.step,
                loss=loss,
                factor=factor,
                gradient_norm=norm,
                other_norms={name: one for name, one in clipped.items() if name},
                tokens=state.tokens,
                seen=total.tokens,
                count=total.count,
                trained=total.trained,
                took=now - began,
                seconds=self.seconds,
                norms=norms,
                figures={name: value / items for name, (value, items) in total.figures.items() if items},
            )
        )
        hooks.after(state)
        if hooks.judge and hooks.judge_every and state.step % hooks.judge_every == 0:
            hooks.judge(state)
        if hooks.save and time.perf_counter() - self.saved > hooks.save_seconds:
            hooks.save(state)
            self.saved = time.perf_counter()


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
    losses = torch.stack([term.loss for term in terms]).tolist() if terms else []
    total = PartialSum(0.0, 0, 0)
    for value, term in zip(losses, terms, strict=True):
        figures = {name: (float(x.double().sum()), x.numel()) for name, x in term.figures.items()}
        trained = term.items if term.trained is None else term.trained
        total = total.plus(PartialSum(value, term.items, term.seen, figures, trained))
    return total


def _divide(model: Transformer, count: int) -> None:
    """Turn gradients of a sum into those of a mean, once, with the count of the entire step."""
    torch._foreach_div_([weight.grad for weight in model.parameters() if weight.grad is not None], count)


def _clip(state: State, limit: float) -> dict[str, float]:
    """Scale the gradients of each clip group to a norm of at most `limit` (0 = off) and return the unclipped norms.

    Parameter groups of the optimizers may name their clip group in `clip`, such as a value model's, whose large
    gradients must not shrink the policy's; all other weights are in the group "".
    """
    groups = (group for optimizer in state.optimizers for group in optimizer.param_groups)
    names = {weight: group["clip"] for group in groups if "clip" in group for weight in group["params"]}
    by_name: dict[str, list[Tensor]] = {"": []}
    for weight in state.model.parameters():
        by_name.setdefault(names.get(weight, ""), []).append(weight)
    most = limit or math.inf
    return {name: float(torch.nn.utils.clip_grad_norm_(own, most, foreach=True)) for name, own in by_name.items()}


def _is_usable(loss: float, gradient_norm: float, loss_stats: LossStats) -> bool:
    """Whether a step is finite and its loss is not a spike relative to recent losses."""
    return math.isfinite(loss) and math.isfinite(gradient_norm) and loss <= loss_stats.limit


def _update(state: State, factor: float, *, measure: bool) -> Norms | None:
    """Update the weights by one step of each optimizer; return the norms if they are to be measured."""
    weights = [weight.detach() for weight in state.model.parameters() if weight.requires_grad]
    before = [weight.clone() for weight in weights] if measure else []
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        optimizer.step()
    if not measure:
        return None
    size, change = _norm(weights), _norm(list(torch._foreach_sub(weights, before)))
    return Norms(size, change / size)


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def _clear(state: State) -> None:
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context for products in bfloat16 while weights, gradients and sums stay float32; no-op for fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that the step completes; a second signal interrupts at once."""
    event = threading.Event()

    def request() -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    with _on_stop_signal(request):
        yield event


@contextmanager
def _on_stop_signal(call: Callable[[], None]) -> Iterator[None]:
    """Call a function on Ctrl-C or SIGTERM; no-op outside the main thread, which alone receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: call()) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt() -> None:
    raise KeyboardInterrupt
