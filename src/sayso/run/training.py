"""What every act that trains takes as options, and how its steps are cut up and counted."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from sayso.base.device import Device
from sayso.base.errors import UserError
from sayso.base.log import say
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.crew import can_fork
from sayso.train.loop import Interrupted
from sayso.train.measure import seconds_per_step

TRANSIENT = (
    *("life", "restart", "on_divergence", "save_seconds", "keep", "recompute"),
    *("processes", "micro_rows", "device"),  # they change a run by rounding alone
)
"""Options that may change when a command is repeated to go on."""
Loss = Callable[[Transformer, Batch], tuple[Tensor, int, int]]


@dataclass(frozen=True)
class Training:
    """Options that the acts which train have in common."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    save_seconds: float = 60.0
    """Seconds between checkpoints."""
    keep: int = 2
    """Checkpoints that stay, the newest."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """After a loss that jumps or is not finite: save and stop, leave the batch out, or go back to a checkpoint."""
    processes: int | None = None
    """Processes of one thread that share a batch's rows on a CPU; when not given, one a core if each gets a row."""
    micro_rows: int | None = None
    """Rows that a process computes at once, its others after them, to spare memory; all when not given."""
    recompute: bool = False
    """Whether to spare memory by computing each block's activations again in the backward pass."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""
    seed: int = 0
    """Fixes whatever is drawn: first weights, order, samples."""
    restart: bool = False
    """Begin anew where an unfinished run with other options stands."""


class HasBatches(Protocol):
    """Batches as a pure function of the step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a step's rows are shared out; it changes sums by rounding alone, and is kept in a run's plan for that.

    Going on, the plan's layout counts again, unless another is asked for or the machine is another.
    """

    processes: int
    parts: int

    def of(self, batches: HasBatches) -> Callable[[int], Sequence[Batch]]:
        """Return what gives the parts of each step."""
        return lambda step: batches.batch(step).split(self.parts)


def layout_for(options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a step of `rows` rows, as asked; else a process a core, if each core gets a row."""
    for name, given in (("rows", rows), ("processes", options.processes), ("micro-rows", options.micro_rows)):
        if given is not None and given < 1:
            raise UserError(f"--{name} is at least 1; got {given}.")
    can, asked = can_fork(device.kind), options.processes
    if asked not in (None, 1) and not can:
        raise UserError("--processes above 1 needs a CPU alone, on Linux; leave it away on this machine.")
    usual = device.threads if can and device.threads <= rows else 1
    processes = min(asked or usual, rows)
    of_one = -(-rows // processes)
    return Layout(processes, processes * -(-of_one // min(options.micro_rows or of_one, of_one)))


def layout_of_plan(stored: dict[str, Any], options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a run's plan, or the one to go on with where the options or the device differ by now."""
    planned = Layout(**stored)
    can = can_fork(device.kind)
    if options.processes is None and options.micro_rows is None and (planned.processes == 1 or can):
        return planned
    processes = options.processes or (planned.processes if can else None)
    at_once = options.micro_rows or -(-rows // planned.parts)
    layout = layout_for(replace(options, processes=processes, micro_rows=at_once), rows, device)
    if layout != planned:
        say(f"{_words(planned).capitalize()} in the plan, {_words(layout)} now: sums round differently.")
    return layout


def _words(layout: Layout) -> str:
    return f"{layout.processes} process{'es' * (layout.processes > 1)} and {layout.parts} parts of a batch"


def batch_loss(device: Device) -> Loss:
    """Return the next-token loss of a batch as the loop wants it: sum, count, tokens seen."""

    def loss(model: Transformer, batch: Batch) -> tuple[Tensor, int, int]:
        ids, targets, documents = (part.to(device.kind) for part in (batch.ids, batch.targets, batch.documents))
        return *next_token_loss(model, ids, targets, documents), ids.numel()

    return loss


def steps_in_minutes(
    minutes: float, config: ModelConfig, batches: HasBatches, layout: Layout, device: Device, *, recompute: bool
) -> int:
    """Return how many steps on these batches this machine does in so many minutes, measured."""
    if minutes <= 0:
        raise UserError(f"--minutes is more than 0; got {minutes:g}.")
    try:
        seconds = seconds_per_step(
            config, layout.of(batches), batch_loss(device), device.kind, layout.processes, recompute=recompute
        )
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))
