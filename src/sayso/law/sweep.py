"""A sweep: which small models to train, and on how many tokens each, to predict the loss of a larger run.

Takes minutes and the speed of the machine; returns the runs and the larger one. Three sizes have up to four budgets of
training FLOPs each, every one half of the one before. The predicted run has the largest size and `factor` times the
largest budget: its size was seen with fewer tokens, and about its tokens with smaller sizes, but never both at once.
Every run has its own batch size and its own schedule down to zero.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sayso.base.errors import UserError
from sayso.model import ModelConfig
from sayso.train.dial import (
    DEEPEST,
    FEW_HEADS,
    HEAD_SIZE,
    TOKENS_PER_PARAMETER,
    WIDTH_PER_LAYER,
    batch_tokens,
    shape_of_depth,
)

SIZES, HORIZONS, RUNS = 3, 4, 8  # sizes, most budgets of a size, and fewest runs
APART = 1.7  # least ratio of the parameters of neighboring sizes
SHORTEST = 120  # steps; the losses of shorter runs do not follow a law yet
EVALUATION = 1 / 3  # time of a token that is only read, in that of a token that is trained
Speed = Callable[[ModelConfig], float]
"""Seconds per training token of a shape."""


@dataclass(frozen=True)
class SweepRun:
    """One training run, with its own schedule and batch size."""

    config: ModelConfig
    row_tokens: int
    rows: int
    steps: int
    readings: tuple[int, ...] = ()
    """Steps at which the run is also evaluated on its way: where the shorter runs of its size end."""

    @property
    def parameters(self) -> int:
        """Weights of the matrices and the head, N."""
        return self.config.matmul_parameters

    @property
    def tokens(self) -> int:
        """Training tokens, D."""
        return self.rows * self.row_tokens * self.steps

    @property
    def compute(self) -> float:
        """Training FLOPs, 6 N D."""
        return 6.0 * self.parameters * self.tokens

    @property
    def name(self) -> str:
        """Name of its folder, such as 'width-96-tokens-1228800'."""
        return f"width-{self.config.width}-tokens-{self.tokens}"

    def seconds(self, speed: float, held_tokens: int) -> float:
        """Return the time that it takes at `speed` seconds per token, evaluations on `held_tokens` included."""
        return speed * (self.tokens + EVALUATION * held_tokens * (1 + len(self.readings)))


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep, those with the least compute first, and the larger run that they predict."""

    runs: tuple[SweepRun, ...]
    target: SweepRun

    @property
    def factor(self) -> float:
        """Compute of the larger run over that of the largest one of the sweep."""
        return self.target.compute / max(run.compute for run in self.runs)

    def seconds(self, speed: Speed, held_tokens: int) -> float:
        """Return the time that all runs take."""
        return sum(run.seconds(speed(run.config), held_tokens) for run in (*self.runs, self.target))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SweepPlan":
        """Return the plan of a dict from `as_dict`."""
        *runs, target = (
            SweepRun(ModelConfig(**one["config"]), one["row_tokens"], one["rows"], one["steps"], (*one["readings"],))
            for one in (*data["runs"], data["target"])
        )
        return cls(tuple(runs), target)


def ladder(vocab_size: int, context: int) -> Iterator[ModelConfig]:
    """Yield shapes from small to large, one head wider each, with the depth that the dial has for that width.

    From where heads share keys and values on, two heads wider each.
    """
    most = DEEPEST * WIDTH_PER_LAYER // HEAD_SIZE
    for heads in (*range(1, FEW_HEADS + 1), *range(FEW_HEADS + 2, most + 1, 2)):
        width = HEAD_SIZE * heads
        yield shape_of_depth(max(1, round(width / WIDTH_PER_LAYER)), vocab_size, context, width=width)


def plan_sweep(
    minutes: float,
    shapes: Sequence[ModelConfig],
    speed: Speed,
    *,
    factor: float = 3.0,
    held_tokens: int = 0,
    shortest: int = SHORTEST,
) -> SweepPlan:
    """Return the sweep that takes about `minutes`, the larger run included.

    `shapes` are those of a ladder. The larger run has the largest shape that gets its best number of tokens, as in
    `depth_of_budget`. `held_tokens` are read at each evaluation. Raises `UserError`, with the least minutes, if these
    are too few for `RUNS` runs of at least `shortest` steps.
    """
    smallest, *larger = [found for top in range(len(shapes)) if len(found := _sizes(shapes, top)) == SIZES]
    chosen = _fill(60 * minutes, smallest, speed, factor, held_tokens, shortest)
    if not _suffices(chosen):
        least = _least(smallest, speed, factor, held_tokens, shortest)
        raise UserError(
            f"--minutes must be at least {least:g} for a fit on this machine, for {RUNS} runs of {shortest} steps or "
            f"more and the larger run; got {minutes:g}."
        )
    for sizes in larger:
        plan = _fill(60 * minutes, sizes, speed, factor, held_tokens, shortest)
        if not _suffices(plan) or plan.target.tokens < TOKENS_PER_PARAMETER * sizes[0].matmul_parameters:
            break
        chosen = plan
    return chosen


def _sizes(shapes: Sequence[ModelConfig], top: int) -> list[ModelConfig]:
    """Return the shape number `top` and smaller ones, each at least `APART` from the one before, at most `SIZES`."""
    found = [shapes[top]]
    for shape in reversed(shapes[:top]):
        if len(found) < SIZES and found[-1].matmul_parameters >= APART * shape.matmul_parameters:
            found.append(shape)
    return found


def _of_budget(budget: float, sizes: Sequence[ModelConfig], factor: float, shortest: int) -> SweepPlan:
    """Return the sweep whose largest runs have `budget` FLOPs each."""
    runs = [run for shape in sizes for run in _of_size(budget, shape, shortest)]
    largest = max((run.compute for run in runs), default=budget)
    target = _run(sizes[0], factor * largest / (6 * sizes[0].matmul_parameters), math.ceil)
    return SweepPlan(tuple(sorted(runs, key=lambda run: run.compute)), target)


def _of_size(budget: float, shape: ModelConfig, shortest: int) -> Iterator[SweepRun]:
    """Yield the runs of one size, the longest first, which is also read where the others end."""
    tokens = budget / (6 * shape.matmul_parameters)
    runs = [_run(shape, tokens / 2**halved, math.floor) for halved in range(HORIZONS)]
    runs = [run for run in runs if run.steps >= shortest]
    for number, run in enumerate(runs):
        every = run.steps // 2 ** (len(runs) - 1)
        readings = () if number else tuple(every * 2**doubled for doubled in range(len(runs) - 1))
        yield replace(run, readings=readings)


def _run(shape: ModelConfig, tokens: float, whole: Callable[[float], int]) -> SweepRun:
    """Return a run over about `tokens`, with the batch size for them; `whole` rounds its steps."""
    rows = max(1, round(batch_tokens(tokens) / shape.context))
    return SweepRun(shape, shape.context, rows, whole(tokens / (rows * shape.context)))


def _suffices(plan: SweepPlan) -> bool:
    """Whether there are runs enough for a fit, and two or more of each size."""
    widths = [run.config.width for run in plan.runs]
    return len(widths) >= RUNS and len(set(widths)) == SIZES and min(map(widths.count, widths)) >= 2


def _fill(
    seconds: float, sizes: Sequence[ModelConfig], speed: Speed, factor: float, held_tokens: int, shortest: int
) -> SweepPlan:
    """Return the sweep with the largest budget that takes at most `seconds`."""

    def plan(log_budget: float) -> SweepPlan:
        return _of_budget(math.exp(log_budget), sizes, factor, shortest)

    return plan(_border(lambda x: plan(x).seconds(speed, held_tokens) <= seconds))


def _least(sizes: Sequence[ModelConfig], speed: Speed, factor: float, held_tokens: int, shortest: int) -> float:
    """Return the least minutes for a sweep of these sizes, rounded up to two digits."""
    few = _border(lambda x: not _suffices(_of_budget(math.exp(x), sizes, factor, shortest)))
    plan = _of_budget(1.01 * math.exp(few), sizes, factor, shortest)
    minutes = 1.02 * plan.seconds(speed, held_tokens) / 60
    unit = 10 ** (math.floor(math.log10(minutes)) - 1)
    return float(f"{math.ceil(minutes / unit) * unit:.2g}")


def _border(holds: Callable[[float], bool]) -> float:
    """Return about the largest log of FLOPs for which a condition holds that is true of few."""
    low, high = math.log(1e3), math.log(1e30)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
