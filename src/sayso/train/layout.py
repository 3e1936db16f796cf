"""How a training step is divided among processes and micro-batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sayso.base.device import Device, has_bf16
from sayso.base.errors import UserError, nearest
from sayso.base.log import say
from sayso.batch.batch import Batch, HasBatches
from sayso.train.options import PRECISIONS, Training
from sayso.train.workers import can_fork


@dataclass(frozen=True)
class Layout:
    """How a step's rows are divided, and the precision; stored in the plan.

    The division changes results only by rounding. A resumed run uses the plan's layout, unless the options or the
    machine differ.
    """

    processes: int
    parts: int
    precision: str = "fp32"
    threads: int = 0
    """Threads of a single process on a CPU; they determine the order of summation. 0 = leave unchanged."""

    def of(self, batches: HasBatches) -> Callable[[int], Sequence[Batch]]:
        """Return a function from a step to the parts of its batch."""
        return lambda step: batches.batch(step).split(self.parts)


def layout_for(options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a step of `rows` rows. Default: one process per core, if each core gets a row."""
    forks = can_fork(device.kind)
    if options.processes not in (None, 1) and not forks:
        raise UserError("--processes above 1 requires training on a CPU on Linux; omit it on this machine.")
    default = device.threads if forks and device.threads <= rows else 1
    processes = min(options.processes or default, rows)
    per_process = -(-rows // processes)
    parts = processes * -(-per_process // min(options.micro_rows or per_process, per_process))
    threads = device.threads if device.kind == "cpu" else 0
    return Layout(processes, parts, precision_on(device, options.precision), threads)


def precision_on(device: Device, precision: str) -> str:
    """Resolve fp32, bf16 or auto to fp32 or bf16 on a device; raise `UserError` if it is not supported."""
    if precision == "fp16":
        raise UserError(
            "--precision must be auto, fp32 or bf16; fp16 is not supported, because small gradients underflow in it "
            "without loss scaling. Use bf16, which has the range of fp32."
        )
    if precision not in PRECISIONS:
        raise UserError(
            f"--precision must be one of {', '.join(PRECISIONS)}; got '{precision}'.{nearest(precision, PRECISIONS)}"
        )
    supported = has_bf16(device.kind)
    if precision == "bf16" and not supported:
        raise UserError(f"--precision bf16 is not supported by this '{device.kind}' device; use fp32.")
    if precision == "auto":
        return "bf16" if supported and device.kind == "cuda" else "fp32"
    return precision


def layout_of_plan(stored: dict[str, Any], options: Training, rows: int, device: Device) -> Layout:
    """Return the layout of a run's plan, or a new one if the options or the device have changed."""
    planned = Layout(**stored)
    precision_on(device, planned.precision)  # a run keeps its precision, which this device must support
    forks = can_fork(device.kind)
    if options.processes is None and options.micro_rows is None and (planned.processes == 1 or forks):
        return planned
    processes = options.processes or (planned.processes if forks else None)
    micro_rows = options.micro_rows or -(-rows // planned.parts)
    resolved = replace(options, processes=processes, micro_rows=micro_rows, precision=planned.precision)
    layout = replace(layout_for(resolved, rows, device), threads=planned.threads)
    if layout != planned:
        say(f"The plan has {_described(planned)}; this run uses {_described(layout)}, so sums are rounded differently.")
    return layout


def _described(layout: Layout) -> str:
    return f"{layout.processes} process{'es' * (layout.processes > 1)} and {layout.parts} parts per batch"
