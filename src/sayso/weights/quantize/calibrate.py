"""Record the inputs of a model's linear layers on some text, block by block, each behind already quantized blocks.

A layer's inputs over the calibration text are reduced to their Gram matrix and the peak of each column, which is all
that GPTQ and the outlier search need. B rows, T time, C inputs of a layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sayso.model import Transformer
from sayso.model.linear import Linear

_ROWS = 4  # of the text that go through a block at once


@dataclass
class Inputs:
    """What a layer was given so far."""

    gram: Tensor
    """Sum of x x^T, float32 [C, C]."""
    peaks: Tensor
    """The largest absolute value of each column, float32 [C]."""

    def add(self, x: Tensor) -> None:
        """Take in more of them, [..., C]."""
        rows = x.flatten(0, -2).to(torch.float32)
        self.gram.addmm_(rows.T, rows)
        torch.maximum(self.peaks, rows.abs().amax(0), out=self.peaks)


Replace = Callable[[str, Linear, Inputs], nn.Module]
"""A layer, by its name in the model, and what it was given -> what takes its place."""


@torch.no_grad()
def through_blocks(model: Transformer, rows: Tensor, replace: Replace, tell: Callable[[int], None]) -> None:
    """Replace every linear layer of every block, in order; `rows` [B, T] of ids are what it is calibrated on.

    `tell` is called with the number of blocks that are done.
    """
    parts = [_entering(model, part) for part in rows.split(_ROWS)]
    for layer, block in enumerate(model.blocks):
        linear = {name: part for name, part in block.named_modules() if isinstance(part, Linear)}
        with _watched(linear) as seen:
            for x, after in parts:
                block(x, *after[layer])
        for name, part in linear.items():
            block.set_submodule(name, replace(f"blocks.{layer}.{name}", part, seen[name]))
        parts = [(block(x, *after[layer]), after) for x, after in parts]
        tell(layer + 1)


def _entering(model: Transformer, rows: Tensor) -> tuple[Tensor, list[tuple[Any, ...]]]:
    """Return the input of the first block, and the other arguments of each block."""
    entered: list[tuple[Any, ...]] = []
    hooks = [block.register_forward_pre_hook(lambda _, given: entered.append(given)) for block in model.blocks]
    try:
        model.hidden(rows.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return entered[0][0], [given[1:] for given in entered]


@contextmanager
def _watched(layers: dict[str, Linear]) -> Iterator[dict[str, Inputs]]:
    """Yield what each layer is given meanwhile; layers that are given the same tensor share it."""
    seen: dict[str, Inputs] = {}
    latest: list[tuple[Tensor, Inputs]] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0]
            if latest and latest[0][0] is x:
                seen[name] = latest[0][1]
                return
            if name not in seen:
                width = x.shape[-1]
                seen[name] = Inputs(x.new_zeros(width, width), x.new_zeros(width))
            seen[name].add(x)
            latest[:] = [(x, seen[name])]

        return note

    hooks = [part.register_forward_pre_hook(watch(name)) for name, part in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
