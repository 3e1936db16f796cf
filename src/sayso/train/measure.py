"""How fast this machine trains a shape: some real steps of it, on throwaway weights.

A budget in minutes is turned into steps with it, once, before a run begins.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from sayso.model import ModelConfig, Transformer
from sayso.train.loop import Shown, State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

BatchT = TypeVar("BatchT")
STEPS, SECONDS = 4, 4.0  # at least so many, for at least so long; the first is warm-up, the median of the rest counts


class _Enough(Exception):  # noqa: N818 - a signal, not an error
    pass


def seconds_per_step(
    config: ModelConfig,
    parts: Callable[[int], Sequence[BatchT]],
    loss: Callable[[Transformer, BatchT], tuple[Tensor, int, int]],
    device: str = "cpu",
    processes: int = 1,
) -> float:
    """Return the seconds of one update of a model of this shape, on the first batches of the run to come."""
    model = Transformer(config).initialise(torch.Generator().manual_seed(0)).to(device)
    times = [0.0]

    def show(shown: Shown) -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(shown.seconds)
        if len(times) > STEPS and shown.seconds >= SECONDS:
            raise _Enough

    state = State(model, make_optimizers(model, Rates()))
    with suppress(_Enough):
        train(state, parts, loss, Schedule(10**6), show=show, processes=processes)
    return statistics.median(later - earlier for earlier, later in pairwise(times[1:]))
