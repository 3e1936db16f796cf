"""How fast this machine trains a shape: some real steps of it, on throwaway weights.

A budget in minutes is turned into steps with it, once, before a run begins.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch

from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora
from sayso.train.loop import Loss, Shown, State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

BatchT = TypeVar("BatchT")
STEPS, SECONDS = 4, 4.0  # at least so many, for at least so long; the first is warm-up, the median of the rest counts


SIDES = {"cpu": 1024, "cuda": 8192, "mps": 4096}  # of the square matrices that measure what a device can do


def matmul_peak(device: str, precision: str = "fp32") -> float:
    """Return the operations a second of a large product of matrices here, in the precision of training."""
    side = SIDES[device]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x = torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    times = []
    for _ in range(8):
        _finish(device)
        began = time.perf_counter()
        x @ x
        _finish(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times)


def step_flops(config: ModelConfig, seen: int, trained: int, narrow: int = 0) -> int:
    """Return the operations that a step over `seen` tokens needs for its products with weights.

    6 a weight and token, forward and backward; the head's for the `trained` tokens alone. With `narrow` weights of
    adapters, 6 for those and 4 for the others, which get no gradient. Attention scores are not counted: they depend on
    the lengths of documents.
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
    parts: Callable[[int], Sequence[BatchT]],
    loss: Loss[BatchT],
    device: str = "cpu",
    processes: int = 1,
    precision: str = "fp32",
    *,
    recompute: bool = False,
    lora: LoRA | None = None,
) -> float:
    """Return the seconds of one update of a model of this shape, on the first batches of the run to come."""
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config).initialise(generator).to(device)
    if lora:
        add_lora(model, lora, generator)
    model.recompute = recompute
    times: list[float] = []

    def show(shown: Shown) -> None:
        times.append(shown.took)
        if len(times) >= STEPS and shown.seconds >= SECONDS:
            raise _Enough

    state = State(model, make_optimizers(model, Rates()))
    with suppress(_Enough):
        train(state, parts, loss, Schedule(10**6), show=show, processes=processes, precision=precision)
    return statistics.median(times[1:])
