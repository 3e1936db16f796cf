"""Record the inputs of a model's linear layers on calibration text, block by block, after the quantized blocks before.

Inputs are reduced to their Gram matrix and the peak of each column, which is all that GPTQ and the outlier search need.
B rows, T time, C inputs of a layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sayso.model import Transformer
from sayso.model.linear import Linear

_ROWS = 4  # rows of text per forward pass


@dataclass
class Inputs:
    """Statistics of a layer's inputs."""

    gram: Tensor
    """Sum of x x^T, float32 [C, C]."""
    peaks: Tensor
    """Largest absolute value of each column, float32 [C]."""

    def add(self, x: Tensor) -> None:
        """Add inputs [..., C]."""
        rows = x.flatten(0, -2).to(torch.float32)
        self.gram.addmm_(rows.T, rows)
        torch.maximum(self.peaks, rows.abs().amax(0), out=self.peaks)


Replace = Callable[[str, Linear, Inputs], nn.Module]
"""Returns the replacement of a layer, given its name in the model, the layer and its inputs."""


@torch.no_grad()
def replace_layers(model: Transformer, rows: Tensor, replace: Replace, progress: Callable[[int], None]) -> None:
    """Replace every linear layer of every block, in order, calibrated on ids `rows` [B, T].

    `progress` is called with the number of finished blocks.
    """
    parts = [_block_inputs(model, part) for part in rows.split(_ROWS)]
    for layer, block in enumerate(model.blocks):
        linear = {name: part for name, part in block.named_modules() if isinstance(part, Linear)}
        with _recording(linear) as inputs:
            for x, others in parts:
                block(x, *others[layer])
        for name, part in linear.items():
            block.set_submodule(name, replace(f"blocks.{layer}.{name}", part, inputs[name]))
        parts = [(block(x, *others[layer]), others) for x, others in parts]
        progress(layer + 1)


def _block_inputs(model: Transformer, rows: Tensor) -> tuple[Tensor, list[tuple[Any, ...]]]:
    """Return the input of the first block, and the other arguments of each block."""
    calls: list[tuple[Any, ...]] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: calls.append(args)) for block in model.blocks]
    try:
        model.hidden(rows.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return calls[0][0], [args[1:] for args in calls]


@contextmanager
def _recording(layers: dict[str, Linear]) -> Iterator[dict[str, Inputs]]:
    """Record the inputs of each layer inside the context; layers that receive the same tensor share one record."""
    inputs: dict[str, Inputs] = {}
    latest: list[tuple[Tensor, Inputs]] = []

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0]
            if latest and latest[0][0] is x:
                inputs[name] = latest[0][1]
                return
            if name not in inputs:
                width = x.shape[-1]
                inputs[name] = Inputs(x.new_zeros(width, width), x.new_zeros(width))
            inputs[name].add(x)
            latest[:] = [(x, inputs[name])]

        return record

    hooks = [part.register_forward_pre_hook(recorder(name)) for name, part in layers.items()]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
