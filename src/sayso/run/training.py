"""What every act that trains takes as options, and how its steps are cut up and counted."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from sayso.base.device import Device
from sayso.base.errors import UserError
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.loop import Interrupted
from sayso.train.measure import seconds_per_step

TRANSIENT = ("life", "restart", "on_divergence", "save_seconds", "keep")
"""Options that may change when a command is repeated to go on: the weights at the end do not depend on them."""
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
    """After a loss that jumps or is not finite: save and stop, leave the batch out, or go back to a checkpoint too."""
    processes: int | None = None
    """Processes that share the rows of a batch on a CPU; one a core when not given."""
    micro_rows: int | None = None
    """Rows computed at once, the rest of a batch after them, to spare memory; all when not given."""
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
    """How a step's rows are shared out; it changes sums by rounding alone, and is kept in a run's plan for that."""

    processes: int
    parts: int

    def of(self, batches: HasBatches) -> Callable[[int], Sequence[Batch]]:
        """Return what gives the parts of each step."""
        return lambda step: batches.batch(step).split(self.parts)


def layout_for(options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a step of `rows` rows: as asked, or a process a core where they can be forked."""
    asked, at_once = options.processes, options.micro_rows or rows
    for name in ("processes", "micro_rows"):
        given = getattr(options, name)
        if given is not None and not 1 <= given <= rows:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is from 1 to the rows of a batch, which are {rows}; got {given}.")
    can = device.kind == "cpu" and sys.platform == "linux"
    if asked not in (None, 1) and not can:
        raise UserError("--processes above 1 shares a step among the cores of a CPU on Linux; leave it away here.")
    processes = asked or (min(device.threads, rows) if can else 1)
    return Layout(processes, max(processes, -(-rows // at_once)))


def batch_loss(device: Device) -> Loss:
    """Return the next-token loss of a batch as the loop wants it: sum, count, tokens seen."""

    def loss(model: Transformer, batch: Batch) -> tuple[Tensor, int, int]:
        ids, targets, documents = (part.to(device.kind) for part in (batch.ids, batch.targets, batch.documents))
        return *next_token_loss(model, ids, targets, documents), ids.numel()

    return loss


def steps_in_minutes(minutes: float, config: ModelConfig, batches: HasBatches, layout: Layout, device: Device) -> int:
    """Return how many steps on these batches this machine does in so many minutes, measured."""
    if minutes <= 0:
        raise UserError(f"--minutes is more than 0; got {minutes:g}.")
    try:
        seconds = seconds_per_step(config, layout.of(batches), batch_loss(device), device.kind, layout.processes)
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))
