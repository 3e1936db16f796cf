"""How a training step is divided among processes and micro-batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sayso.base.device import Device, has_bf16
from sayso.base.errors import UserError, nearest
from sayso.base.log import say
from sayso.batch.batch import Batch
from sayso.train.options import PRECISIONS, Training
from sayso.train.workers import can_fork


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
