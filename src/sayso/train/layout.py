"""Options shared by all acts that train, and how a training step is divided among processes and micro-batches."""

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
    *("processes", "micro_rows", "device", "deterministic"),  # these change a run only by rounding
    "mirror",
)
"""Options that may change when a run is resumed."""
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Training(Options):
    """Options shared by the acts that train."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    save_seconds: Weight = 60.0
    """Seconds between checkpoints."""
    keep: Positive = 2
    """Number of recent checkpoints to keep."""
    on_divergence: Literal["stop", "skip", "rewind"] = "stop"
    """If the loss spikes or is not finite: save and stop, skip the batch, or rewind to a checkpoint."""
    processes: Processes | None = None
    """Single-threaded processes that share a batch on a CPU. Default: one per core if each gets a row."""
    micro_rows: Rows | None = None
    """Micro-batch size: rows that a process computes at once, to save memory. Default: all its rows."""
    recompute: bool = False
    """Save memory with activation checkpointing: recompute activations in the backward pass."""
    precision: str = "auto"
    """Precision of matrix products: fp32, bf16 (weights and sums stay fp32), or auto (bf16 on GPUs that support it)."""
    deterministic: bool = False
    """Use only deterministic algorithms, on GPUs too."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    mirror: tuple[str, ...] = ()
    """Also send the metrics of each step to tensorboard, trackio or wandb; may be repeated."""
    seed: Seed = 0
    """Random seed of initial weights, data order and samples."""
    restart: bool = False
    """Start over if there is an unfinished run with other options."""
    replace: bool = False
    """Replace a model of this name from another run."""


class HasBatches(Protocol):
    """Batches as a pure function of the step."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a step's rows are divided, which changes results only by rounding, and the precision; stored in the plan.

    A resumed run uses the plan's layout, unless the options or the machine differ.
    """

    processes: int
    parts: int
    precision: str = "fp32"
    threads: int = 0
    """Threads of a single process on a CPU, which determine the order of summation; 0 = leave unchanged."""

    def of(self, batches: HasBatches) -> Callable[[int], Sequence[Batch]]:
        """Return a function from a step to the parts of its batch."""
        return lambda step: batches.batch(step).split(self.parts)


def layout_for(options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a step of `rows` rows. Default: one process per core, if each core gets a row."""
    can, asked = can_fork(device.kind), options.processes
    if asked not in (None, 1) and not can:
        raise UserError("--processes above 1 requires training on a CPU on Linux; omit it on this machine.")
    usual = device.threads if can and device.threads <= rows else 1
    processes = min(asked or usual, rows)
    of_one = -(-rows // processes)
    parts = processes * -(-of_one // min(options.micro_rows or of_one, of_one))
    threads = device.threads if device.kind == "cpu" else 0
    return Layout(processes, parts, precision_on(device, options.precision), threads)


def layout_that_fits(
    options: Training, config: ModelConfig, rows: int, tokens: int, device: Device, *, lora: bool = False
) -> Layout:
    """Return the layout of a step of `rows` rows of at least `tokens`; raise `UserError` if it exceeds the memory."""
    layout = layout_for(options, rows, device)
    check_memory(Step(config, rows, tokens, layout, device.kind, options.recompute, all_weights=not lora))
    return layout


def precision_on(device: Device, asked: str) -> str:
    """Resolve `asked` (fp32, bf16 or auto) to fp32 or bf16 on a device; raise `UserError` if unsupported."""
    if asked == "fp16":
        raise UserError(
            "--precision must be auto, fp32 or bf16; fp16 is not supported, because small gradients underflow in it "
            "without loss scaling. Use bf16, which has the range of fp32."
        )
    if asked not in PRECISIONS:
        raise UserError(
            f"--precision must be one of {', '.join(PRECISIONS)}; got '{asked}'.{nearest(asked, PRECISIONS)}"
        )
    has = has_bf16(device.kind)
    if asked == "bf16" and not has:
        raise UserError(f"--precision bf16 is not supported by this '{device.kind}' device; use fp32.")
    return ("bf16" if has and device.kind == "cuda" else "fp32") if asked == "auto" else asked


def layout_of_plan(stored: dict[str, Any], options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a run's plan, or a new one if the options or the device have changed."""
    planned = Layout(**stored)
    precision_on(device, planned.precision)  # a run keeps its precision, which this device must support
    can = can_fork(device.kind)
    if options.processes is None and options.micro_rows is None and (planned.processes == 1 or can):
        return planned
    processes = options.processes or (planned.processes if can else None)
    at_once = options.micro_rows or -(-rows // planned.parts)
    given = replace(options, processes=processes, micro_rows=at_once, precision=planned.precision)
    layout = replace(layout_for(given, rows, device), threads=planned.threads)
    if layout != planned:
        say(f"{_words(planned).capitalize()} in the plan, {_words(layout)} now: sums are rounded differently.")
    return layout


def _words(layout: Layout) -> str:
    return f"{layout.processes} process{'es' * (layout.processes > 1)} and {layout.parts} parts per batch"


def batch_loss(model: Transformer, batch: Batch) -> Term:
    """Return the next-token loss of a batch as a `Term`."""
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
    """Measure how many steps on these batches this machine does in `minutes`."""
    given = (config, layout.of(batches), batch_loss, device.kind, layout.processes, layout.precision)
    try:
        with explain_out_of_memory(config, lambda: batches.batch(0), layout, device.kind, recompute=recompute):
            seconds = seconds_per_step(*given, recompute=recompute, lora=lora)
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))
