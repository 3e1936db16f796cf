"""The loop: the one way in which every stage of a life is trained.

It takes batches as a pure function of the step, a loss that gives a sum and a count, and three functions of the caller:
`show` is told each step, `judge` is asked now and then, `save` keeps the state. Nothing here knows which stage it is. A
step is the same whether the run was interrupted before it or not: everything it depends on is in `State`.
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

BatchT = TypeVar("BatchT")
Loss = Callable[[Transformer, BatchT], Term | tuple[Tensor, int, int]]
"""What a part of a batch costs; a plain tuple is a `Term` without figures."""
NORMS_EVERY = 10  # steps: measuring an update takes a copy of the weights


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """Training was asked to stop (Ctrl-C or SIGTERM); the state was saved first."""


class Diverged(Exception):  # noqa: N818 - an outcome, not a mistake
    """The loss of a step jumped, or it or its gradient is not finite; the weights are those before the step."""

    def __init__(self, step: int, batch: int, loss: float, gradient_norm: float, limit: float) -> None:
        super().__init__(f"step {step}: loss {loss:g} (a jump above {limit:.3g}), gradient norm {gradient_norm:g}")
        self.step, self.batch, self.loss, self.gradient_norm = step, batch, loss, gradient_norm


@dataclass
class State:
    """All that the next step depends on."""

    model: Transformer
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    """Updates done so far."""
    tokens: int = 0
    """Tokens trained on so far."""
    skipped: int = 0
    """Batches passed over after going back to a checkpoint: the next one has the number `step + skipped`."""
    lately: LossStats = field(default_factory=LossStats)
    """The losses of late, which a jump is measured against."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else of a run has to be known to go on, JSON-ready: kept with the state by whoever saves it."""


@dataclass(frozen=True)
class StepRecord:
    """What one update tells."""

    step: int
    loss: float
    factor: float
    """The schedule's factor on every peak rate."""
    gradient_norm: float
    """Before it was clipped."""
    other_norms: dict[str, float]
    """The same of weights that are clipped apart, by the name of their clip group."""
    tokens: int
    """Seen so far, in all."""
    seen: int
    """Tokens of this step."""
    count: int
    """What its loss was divided by: the tokens with a target, or pairs."""
    trained: int
    """Its tokens with a target."""
    took: float
    """Seconds of this step alone, without judging and saving."""
    seconds: float
    """Since this call of `train` began."""
    norms: "Norms | None"
    """Every `NORMS_EVERY` steps; None in between, and where nothing was updated."""
    figures: dict[str, float]
    """What else the loss tells, each a mean over the step's items."""


@dataclass(frozen=True)
class Norms:
    """How large the weights that are trained are, and how far one update moved them."""

    parameter_norm: float
    """Euclidean norm of all of them after the update."""
    update_ratio: float
    """Norm of the update over that."""


def train(
    state: State,
    parts: Callable[[int], Sequence[BatchT]],
    loss: Loss[BatchT],
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
    """Update `state` until the step `until`, or the schedule's end, and return it.

    `parts(number)` gives a batch in one or more parts, each of which fits in memory with its activations;
    `loss(model, part)` gives a `Term`. The parts of a step are shared out among `processes` (more than one on a CPU
    only); `precision` is that of its products, fp32 or bf16. The gradients of each clip group are scaled to a norm of
    at most `clip` (0 = off). Raises `Interrupted` after saving when asked to stop. A step whose loss jumps, or is not
    finite like its gradient, updates nothing: it is left out where `diverged` says so, and raised otherwise.
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
        if state.step < schedule.steps:  # asked in the last step of a piece, after which batches are gathered
            _heed(stop, state, save)
    return state


def _backward(
    model: Transformer,
    parts: Sequence[BatchT],
    loss: Loss[BatchT],
    cast: AbstractContextManager[object],
) -> PartialSum:
    """Add the gradient of the summed loss of some parts to the weights'; return what they come to."""
    terms = []
    for part in parts:
        with cast:
            term = Term(*loss(model, part))
        term.loss.backward()
        terms.append(term._replace(loss=term.loss.detach()))
    # asked for once a step: a GPU has to end its work before it can tell
    whole = PartialSum(0.0, 0, 0)
    for loss_, term in zip(torch.stack([term.loss for term in terms]).tolist() if terms else (), terms, strict=True):
        told = {name: (float(x.double().sum()), x.numel()) for name, x in term.figures.items()}
        trained = term.items if term.trained is None else term.trained
        whole = whole.plus(PartialSum(loss_, term.items, term.seen, told, trained))
    return whole


def _divide(model: Transformer, count: int) -> None:
    """Turn gradients of a sum into those of a mean: once, by the count of the whole step."""
    torch._foreach_div_([weight.grad for weight in model.parameters() if weight.grad is not None], count)


def _clip(state: State, limit: float) -> dict[str, float]:
    """Scale the gradients of each clip group to a norm of at most `limit` (0 = off) and return what the norms were.

    Parameter groups of the optimizers may name theirs as `clip`, such as those of a value model, whose large gradients
    must not shrink the policy's; all other weights are the group "".
    """
    groups = (group for optimizer in state.optimizers for group in optimizer.param_groups)
    names = {weight: group["clip"] for group in groups if "clip" in group for weight in group["params"]}
    apart: dict[str, list[Tensor]] = {"": []}
    for weight in state.model.parameters():
        apart.setdefault(names.get(weight, ""), []).append(weight)
    most = limit or float("inf")
    return {name: float(torch.nn.utils.clip_grad_norm_(weights, most, foreach=True)) for name, weights in apart.items()}


def _fits(loss: float, gradient_norm: float, lately: LossStats) -> bool:
    """Whether a step is one to learn from: finite, and no jump from the losses of late."""
    return math.isfinite(loss) and math.isfinite(gradient_norm) and loss <= lately.limit


def _update(state: State, factor: float, *, measure: bool) -> Norms | None:
    """Move the weights by one step of each optimizer; return how far, if that is to be measured."""
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
    """Return what lets products run in bfloat16 while weights, gradients and sums stay float32; nothing for fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _heed(stop: threading.Event, state: State, save: Callable[[State], None] | None) -> None:
    if stop.is_set():
        if save:
            save(state)
        raise Interrupted


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that a step ends whole; a second Ctrl-C stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals reach the main thread alone
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
