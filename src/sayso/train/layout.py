"""What every act that trains takes as options, and how its steps are cut up and counted."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from sayso.base.device import Device, has_bf16
from sayso.base.errors import UserError, nearest
from sayso.base.log import say
from sayso.base.ranges import Options, Positive, Processes, Rows, Seed, Weight
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.loss.term import Term
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA
from sayso.train.loop import Interrupted
from sayso.train.measure import seconds_per_step
from sayso.train.oom import Step, check_memory, explain_out_of_memory
from sayso.train.workers import can_fork

TRANSIENT = (
    *("life", "restart", "replace", "on_divergence", "save_seconds", "keep", "recompute"),
    *("processes", "micro_rows", "device", "deterministic"),  # they change a run by rounding alone
    "mirror",
)
"""Options that may change when a command is repeated to go on."""
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Training(Options):
    """Options that the acts which train have in common."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    save_seconds: Weight = 60.0
    """Seconds between checkpoints."""
    keep: Positive = 2
    """Checkpoints that stay, the newest."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """After a loss that jumps or is not finite: save and stop, leave the batch out, or go back to a checkpoint."""
    processes: Processes | None = None
    """Processes of one thread that share a batch's rows on a CPU; when not given, one a core if each gets a row."""
    micro_rows: Rows | None = None
    """Rows that a process computes at once, its others after them, to spare memory; all when not given."""
    recompute: bool = False
    """Whether to spare memory by computing each block's activations again in the backward pass."""
    precision: str = "auto"
    """Of products: fp32, bf16 (weights and sums stay fp32), or auto, which is bf16 on a GPU that has it."""
    deterministic: bool = False
    """Whether to allow only algorithms that give the same bits again, on a GPU as well."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""
    mirror: tuple[str, ...] = ()
    """Where the figures of each step go as well: tensorboard, trackio or wandb; repeat it for several."""
    seed: Seed = 0
    """Fixes whatever is drawn: first weights, order, samples."""
    restart: bool = False
    """Begin anew where an unfinished run with other options stands."""
    replace: bool = False
    """Replace a model of this name that another run made."""


class HasBatches(Protocol):
    """Batches as a pure function of the step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a step's rows are shared out, which changes sums by rounding alone, and the precision; kept in a run's plan.

    Going on, the plan's layout counts again, unless another is asked for or the machine is another.
    """

    processes: int
    parts: int
    precision: str = "fp32"
    threads: int = 0
    """Of a process that is alone on a CPU: their number decides in which order sums are added up; 0 = as it is."""

    def of(self, batches: HasBatches) -> Callable[[int], Sequence[Batch]]:
        """Return what gives the parts of each step."""
        return lambda step: batches.batch(step).split(self.parts)


def layout_for(options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a step of `rows` rows, as asked; else a process a core, if each core gets a row."""
    can, asked = can_fork(device.kind), options.processes
    if asked not in (None, 1) and not can:
        raise UserError("--processes above 1 needs a CPU alone, on Linux; leave it away on this machine.")
    usual = device.threads if can and device.threads <= rows else 1
    processes = min(asked or usual, rows)
    of_one = -(-rows // processes)
    parts = processes * -(-of_one // min(options.micro_rows or of_one, of_one))
    threads = device.threads if device.kind == "cpu" else 0
    return Layout(processes, parts, precision_on(device, options.precision), threads)


def layout_that_fits(
    options: Training, config: ModelConfig, rows: int, tokens: int, device: Device, *, lora: bool = False
) -> Layout:
    """Return the layout of a step of `rows` rows of at least `tokens`; `UserError` where memory cannot hold it."""
    layout = layout_for(options, rows, device)
    check_memory(Step(config, rows, tokens, layout, device.kind, options.recompute, all_weights=not lora))
    return layout


def precision_on(device: Device, asked: str) -> str:
    """Return fp32 or bf16 for `asked`, one of these or auto, on a device; what cannot be is a `UserError`."""
    if asked == "fp16":
        raise UserError(
            "--precision is auto, fp32 or bf16; fp16 is not offered, for its small range loses small gradients unless "
            "the loss is scaled, and bf16, with the range of fp32, needs no such thing."
        )
    if asked not in PRECISIONS:
        raise UserError(f"--precision is one of {', '.join(PRECISIONS)}; got '{asked}'.{nearest(asked, PRECISIONS)}")
    has = has_bf16(device.kind)
    if asked == "bf16" and not has:
        raise UserError(f"--precision bf16 needs a device that has it; '{device.kind}' has not here: take fp32.")
    return ("bf16" if has and device.kind == "cuda" else "fp32") if asked == "auto" else asked


def layout_of_plan(stored: dict[str, Any], options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a run's plan, or the one to go on with where the options or the device differ by now."""
    planned = Layout(**stored)
    precision_on(device, planned.precision)  # what a run began with stays, or cannot be here
    can = can_fork(device.kind)
    if options.processes is None and options.micro_rows is None and (planned.processes == 1 or can):
        return planned
    processes = options.processes or (planned.processes if can else None)
    at_once = options.micro_rows or -(-rows // planned.parts)
    given = replace(options, processes=processes, micro_rows=at_once, precision=planned.precision)
    layout = replace(layout_for(given, rows, device), threads=planned.threads)
    if layout != planned:
        say(f"{_words(planned).capitalize()} in the plan, {_words(layout)} now: sums round differently.")
    return layout


def _words(layout: Layout) -> str:
    return f"{layout.processes} process{'es' * (layout.processes > 1)} and {layout.parts} parts of a batch"


def batch_loss(model: Transformer, batch: Batch) -> Term:
    """Return the next-token loss of a batch as the loop wants it."""
    return Term(*next_token_loss(model, batch.ids, batch.targets, batch.documents), batch.ids.numel())


def steps_in_minutes(
    minutes: float,
    config: ModelConfig,
    batches: HasBatches,
    layout: Layout,
    device: Device,
    *,
    recompute: bool,
    lora: LoRA | None = None,
) -> int:
    """Return how many steps on these batches this machine does in so many minutes, measured."""
    given = (config, layout.of(batches), batch_loss, device.kind, layout.processes, layout.precision)
    try:
        with explain_out_of_memory(config, lambda: batches.batch(0), layout, device.kind, recompute=recompute):
            seconds = seconds_per_step(*given, recompute=recompute, lora=lora)
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))
