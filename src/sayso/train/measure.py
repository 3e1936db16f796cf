"""Speed of this machine: its fastest matrix product, and the time of real training steps with throwaway weights.

`mfu` is relative to the former; the latter converts a budget in minutes to steps, once, before a run begins.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import torch

from sayso.base.device import Device, cores
from sayso.batch.batch import Batch, HasBatches
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora
from sayso.model.linear import linear
from sayso.train.layout import Layout
from sayso.train.loop import Hooks, Interrupted, Loss, State, StepRecord, train
from sayso.train.oom import explain_out_of_memory
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

_BatchT = TypeVar("_BatchT")
STEPS, SECONDS = 4, 4.0  # minimum steps and time to measure; the result is their median, without the first (warm-up)
SHARE = 0.02  # minimum share of a time budget to measure: other programs slow a few seconds more than many minutes
SHAPES = {
    "cpu": ((1024, 1024, 1024), (512, 512, 512), (256, 4096, 256)),
    "cuda": ((8192, 8192, 8192), (4096, 4096, 4096), (16384, 4096, 4096)),
    "mps": ((4096, 4096, 4096), (2048, 2048, 2048)),
}
"""Rows, inputs and outputs of the products that measure a device's peak; which is fastest depends on the machine."""
REPEATS = 6


def matmul_peak(device: str, precision: str = "fp32", processes: int = 1) -> float:
    """Return the operations per second of this machine's fastest matrix product, in the precision of training.

    It is the best of several shapes and of both implementations that layers use: torch's own, and oneDNN's if
    `sayso.model.linear` selects it. On a CPU, as many threads are used as in training, by one process or by several.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator, threads = torch.Generator().manual_seed(0), torch.get_num_threads()
    best = 0.0
    torch.set_num_threads(max(threads, min(processes, cores())))
    try:
        with torch.no_grad():
            for rows, inputs, outputs in SHAPES[device]:
                x, weight = (torch.randn(n, inputs, generator=generator).to(device, dtype) for n in (rows, outputs))
                products = (partial(torch.mm, x, weight.T), partial(linear, x, weight))
                seconds = min(_seconds(product, device) for product in products for _ in range(REPEATS))
                best = max(best, 2 * rows * inputs * outputs / seconds)
    finally:
        torch.set_num_threads(threads)
    return best


def _seconds(work: Callable[[], object], device: str) -> float:
    _finish(device)
    began = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - began


def step_flops(config: ModelConfig, seen: int, trained: int, narrow: int = 0) -> int:
    """Return the operations of all products with weights in a step over `seen` tokens, forward and backward.

    There are 6 per weight and token; the head is only applied to the `trained` tokens. With `narrow` adapter weights,
    there are 6 for those and 4 for the others, which have no gradient. Attention scores are not counted, because they
    depend on document lengths.
    """
    blocks, each = config.matmul_parameters - config.head_parameters, 4 if narrow else 6
    return (each * blocks + 6 * narrow) * seen + each * config.head_parameters * trained


def _finish(device: str) -> None:
    if device != "cpu":
        getattr(torch, device).synchronize()


class _Enough(Exception):  # noqa: N818 - a signal, not an error
    pass


def seconds_per_step(
    config: ModelConfig,
    parts: Callable[[int], Sequence[_BatchT]],
    loss: Loss[_BatchT],
    device: str = "cpu",
    processes: int = 1,
    precision: str = "fp32",
    *,
    recompute: bool = False,
    lora: LoRA | None = None,
    measured: float = 0.0,
) -> float:
    """Return the median seconds per step of a model of this shape, on the first batches of the run.

    Steps are measured for at least `measured` seconds.
    """
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config).initialize(generator).to(device)
    if lora:
        add_lora(model, lora, generator)
    model.recompute = recompute
    times: list[float] = []

    def show(step: StepRecord) -> None:
        times.append(step.took)
        if len(times) >= STEPS and step.seconds >= max(SECONDS, measured):
            raise _Enough

    state = State(model, make_optimizers(model, Rates()))
    with suppress(_Enough):
        train(state, parts, loss, Schedule(10**6), Hooks(show=show), processes=processes, precision=precision)
    return statistics.median(times[1:])


def steps_in_minutes(
    minutes: float,
    config: ModelConfig,
    batches: HasBatches,
    layout: Layout,
    device: Device,
    *,
    recompute: bool,
    lora: LoRA | None = None,
    loss: Loss[Batch] = batch_loss,
) -> int:
    """Return how many steps on these batches this machine can do in `minutes`, by measuring some."""
    given = (config, layout.of(batches), loss, device.kind, layout.processes, layout.precision)
    try:
        with explain_out_of_memory(config, lambda: batches.batch(0), layout, device.kind, recompute=recompute):
            seconds = seconds_per_step(*given, recompute=recompute, lora=lora, measured=SHARE * minutes * 60)
    except Interrupted:
        raise KeyboardInterrupt from None
    return max(1, round(minutes * 60 / seconds))
