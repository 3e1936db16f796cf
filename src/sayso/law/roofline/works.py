"""The tasks whose speed is predicted and measured: reading a prompt, decoding, and a step of training."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sayso.batch.batch import Batch
from sayso.law.roofline.engine import EngineCosts, engine_step, predict_engine
from sayso.law.roofline.machine import Machine, seconds_of
from sayso.law.roofline.operations import recorded
from sayso.law.roofline.price import Priced, priced
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.sample.blocks import blocks_for
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, TorchRunner
from sayso.train.loop import Hooks, State, StepRecord, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

_STEPS = 6  # of training; the first is not counted
_TINY = ModelConfig(512, 4, 32, 2, 2, 16, 32, context=256)
_TINY_TOKENS = 32


@dataclass(frozen=True)
class Speed:
    """A task's predicted and measured time."""

    name: str
    tokens: int
    """Tokens of the task."""
    predicted: float
    measured: float
    """Seconds."""
    bound: str

    @property
    def error(self) -> float:
        """Predicted over measured time, minus 1."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Beginning:
    """Seconds that Python and torch need to begin an operation of a model, beyond the operation's own."""

    prompt: float
    training: float


def measure_beginning(machine: Machine) -> Beginning:
    """Measure it with a model of next to no weights."""
    model = Transformer(_TINY).initialize(torch.Generator().manual_seed(0)).eval().to(machine.device)
    found = []
    for speed, count in (_prompt(model, _TINY_TOKENS, machine, 0.0), _training(_TINY, 1, _TINY_TOKENS, machine, 0.0)):
        found.append(max(0.0, (speed.measured - speed.predicted) / count))
    return Beginning(*found)


def prompt_speed(model: Transformer, tokens: int, machine: Machine, beginning: Beginning) -> Speed:
    """Predict and measure how torch reads a prompt of `tokens`, in one pass and with logits for its last token."""
    return _prompt(model, tokens, machine, beginning.prompt)[0]


def _prompt(model: Transformer, tokens: int, machine: Machine, begin: float) -> tuple[Speed, int]:
    """Return the speed, and the number of operations."""
    device = torch.device(machine.device)
    pages = Pages(model.config, blocks_for(tokens), device, torch.float32)
    pages.clear(range(len(pages)))
    chunks = [Chunk([5 + place % 200 for place in range(tokens)], 0, range(len(pages)))]

    def work(runner: TorchRunner) -> Callable[[], object]:
        return lambda: runner.head(runner.hidden(chunks)[-1:])

    with torch.inference_mode():
        operations = recorded(work(TorchRunner(model, pages)))
    found = priced(operations, machine, begin)
    measured = seconds_of(work(TorchRunner(model, pages)), machine.device)
    return Speed(f"prompt of {tokens}", tokens, found.seconds, measured, found.bound), len(operations)


def decoding_speed(model: Transformer, rows: int, context: int, costs: EngineCosts) -> Speed:
    """Predict and measure a step of the engine on a CPU: one token of each row, after `context` tokens."""
    predicted = predict_engine(model.config, rows, context, costs)
    start = costs.start[rows] + model.config.layers * costs.layer[rows]
    bound = "launch" if start > predicted / 2 else "memory"
    return Speed(f"decoding {rows}", rows, predicted, engine_step(model, rows, context), bound)


def training_speed(config: ModelConfig, rows: int, tokens: int, machine: Machine, beginning: Beginning) -> Speed:
    """Predict and measure a step of training on `rows` rows of `tokens`, with its update, in one process."""
    return _training(config, rows, tokens, machine, beginning.training)[0]


def _training(config: ModelConfig, rows: int, tokens: int, machine: Machine, begin: float) -> tuple[Speed, int]:
    """Return the speed, and the number of operations."""
    model = Transformer(config).initialize(torch.Generator().manual_seed(0)).to(machine.device)
    ids = torch.randint(0, config.vocab_size, (rows, tokens + 1), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids[:, :-1], ids[:, 1:], torch.zeros(rows, tokens, dtype=torch.int32))
    times: list[float] = []

    def show(record: StepRecord) -> None:
        times.append(record.took)

    def step(count: int) -> None:
        state = State(model, make_optimizers(model, Rates()))
        train(state, lambda _: [batch], batch_loss, Schedule(count), Hooks(show=show))

    step(2)
    two = recorded(lambda: step(2))
    three = recorded(lambda: step(3))
    found = _difference(priced(three, machine, begin), priced(two, machine, begin))
    times.clear()
    step(_STEPS)
    name, measured = f"training on {rows} x {tokens}", statistics.median(times[1:])
    return Speed(name, rows * tokens, found.seconds, measured, found.bound), len(three) - len(two)


def _difference(more: Priced, less: Priced) -> Priced:
    parts = {name: seconds - less.by_bound[name] for name, seconds in more.by_bound.items()}
    return Priced(more.seconds - less.seconds, parts)
