"""LoRA, applied from outside (Hu et al. 2021): a frozen matrix plus a trained product of two low-rank matrices.

    y = W x + (alpha / rank) B A x        A [rank, in] random, B [out, rank] zero, so that outputs are first unchanged

Wraps the linear layers of a Transformer in place and freezes all other weights; `merge` folds the products into the
matrices, which restores a plain Transformer.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sayso.base.errors import UserError, nearest
from sayso.model.linear import Linear
from sayso.model.transformer import Transformer


@dataclass(frozen=True)
class LoRA:
    """Settings of an adapter. Raises `UserError` for an invalid rank or alpha."""

    rank: int
    """Rank of the products B A."""
    alpha: float
    """The products are scaled by alpha / rank."""
    targets: tuple[str, ...]
    """Names of the linear layers to adapt in every block; empty = all."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"The rank of an adapter must be at least 1; got {self.rank}.")
        if not self.alpha > 0:
            raise UserError(f"The alpha of an adapter must be greater than 0; got {self.alpha:g}.")


class LoRALinear(Linear):
    """A linear layer plus a product of two low-rank matrices; shares its weight with the layer that it wraps."""

    def __init__(self, linear: Linear, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)
        self.scale, self.active = scale, True

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for x [..., in]; only the wrapped layer's output if not `active`."""
        y = super().forward(x)
        if not self.active:
            return y
        narrow = F.linear(x, self.a).flatten(0, -2)
        return torch.addmm(y.flatten(0, -2), narrow, self.b.T, alpha=self.scale).view(y.shape)


def linear_layers(model: Transformer) -> dict[str, Linear]:
    """Return the linear layers inside the blocks, by name."""
    found = model.blocks.named_modules(prefix="blocks")
    return {name: layer for name, layer in found if isinstance(layer, Linear)}


def chosen_targets(model: Transformer, targets: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return `targets`, names of a block's linear layers such as query and up; all of them if empty.

    Raises `UserError`, with the nearest name, for one that the model does not have.
    """
    known = tuple(dict.fromkeys(name.rpartition(".")[2] for name in linear_layers(model)))
    for name in targets:
        if name not in known:
            raise UserError(f"A LoRA target must be one of {', '.join(known)}; got '{name}'.{nearest(name, known)}")
    return targets or known


def add_lora(model: Transformer, lora: LoRA, generator: torch.Generator) -> Transformer:
    """Add new adapters to the layers of `lora.targets`, freeze all other weights, and return the model.

    A is uniform in +-1/sqrt(in). Raises `UserError` as `chosen_targets` does.
    """
    targets, products = chosen_targets(model, lora.targets), []
    for name, linear in linear_layers(model).items():
        if name.rpartition(".")[2] in targets:
            a = torch.empty(lora.rank, linear.in_features).uniform_(-1, 1, generator=generator)
            b = torch.zeros(linear.out_features, lora.rank)
            products.append((name, a * linear.in_features**-0.5, b, lora.alpha / lora.rank))
    return wrap(model, products)


def wrap(model: Transformer, products: Iterable[tuple[str, Tensor, Tensor, float]]) -> Transformer:
    """Wrap layers, each given as (name, A, B, scale), freeze all other weights, and return the model."""
    model.requires_grad_(False)
    for name, a, b, scale in products:
        linear = model.get_submodule(name)
        assert isinstance(linear, Linear)
        model.set_submodule(name, LoRALinear(linear, a.to(linear.weight), b.to(linear.weight), scale))
    return model


def adapters(model: Transformer) -> dict[str, LoRALinear]:
    """Return the adapted layers of a model, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRALinear)}


@contextmanager
def without_adapters(model: Transformer) -> Iterator[None]:
    """Disable the adapters of a model inside the context."""
    layers = adapters(model).values()
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer in layers:
            layer.active = True


@torch.no_grad()
def merge(model: Transformer) -> dict[str, LoRALinear]:
    """Fold the adapters into the weights in place, make all weights trainable, and return the removed adapters."""
    merged = adapters(model)
    for name, layer in merged.items():
        plain = Linear(layer.in_features, layer.out_features, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        plain.weight.addmm_(layer.b, layer.a, alpha=layer.scale)
        model.set_submodule(name, plain)
    model.requires_grad_(True)
    return merged
