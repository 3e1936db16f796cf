"""LoRA, applied from outside (Hu et al. 2021): a frozen matrix plus a trained product of two low-rank matrices.

    y = W x + (alpha / rank) B A x        A [rank, in] random, B [out, rank] zero, so that nothing changes at first

A Transformer enters, its linear layers are wrapped where they stand, and everything else is frozen; `merge` folds the
products into the matrices and leaves a plain Transformer.
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
    """How a model is adapted. Raises `UserError` when rank or alpha cannot be."""

    rank: int
    """Width of the narrow matrices."""
    alpha: float
    """The products are scaled by alpha / rank."""
    targets: tuple[str, ...]
    """Names of the layers that are adapted, in every block; all linear ones when empty."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"The rank of an adapter must be at least 1; got {self.rank}.")
        if not self.alpha > 0:
            raise UserError(f"The alpha of an adapter must be greater than 0; got {self.alpha:g}.")


class LoRALinear(Linear):
    """A linear layer plus a product of two low-rank matrices; its weight is shared with the layer that it wraps."""

    def __init__(self, linear: Linear, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)
        self.scale, self.active = scale, True

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for x [..., in]; the wrapped layer's alone while not `active`."""
        y = super().forward(x)
        if not self.active:
            return y
        narrow = F.linear(x, self.a).flatten(0, -2)
        return torch.addmm(y.flatten(0, -2), narrow, self.b.T, alpha=self.scale).view(y.shape)


def linear_layers(model: Transformer) -> dict[str, Linear]:
    """Return the linear layers inside the blocks by their names in the model."""
    found = model.blocks.named_modules(prefix="blocks")
    return {name: layer for name, layer in found if isinstance(layer, Linear)}


def chosen_targets(model: Transformer, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the linear layers of a block that were asked for, such as query and up; all when none was.

    Raises `UserError`, with the nearest name, for one that the model does not have.
    """
    known = tuple(dict.fromkeys(name.rpartition(".")[2] for name in linear_layers(model)))
    for name in asked:
        if name not in known:
            raise UserError(
                f"The targets of LoRA must be among {', '.join(known)}; got '{name}'.{nearest(name, known)}"
            )
    return asked or known


def add_lora(model: Transformer, lora: LoRA, generator: torch.Generator) -> Transformer:
    """Adapt the layers that `lora` names, freeze everything else, and return the model.

    A is uniform in +-1/sqrt(in). Raises `UserError` as `chosen_targets` does.
    """
    targets, pairs = chosen_targets(model, lora.targets), {}
    for name, linear in linear_layers(model).items():
        if name.rpartition(".")[2] in targets:
            a = torch.empty(lora.rank, linear.in_features).uniform_(-1, 1, generator=generator)
            pairs[name] = a * linear.in_features**-0.5, torch.zeros(linear.out_features, lora.rank)
    return wrap(model, ((name, a, b, lora.alpha / lora.rank) for name, (a, b) in pairs.items()))


def wrap(model: Transformer, products: Iterable[tuple[str, Tensor, Tensor, float]]) -> Transformer:
    """Wrap the named layers with a, b and scale, freeze everything else, and return the model."""
    model.requires_grad_(False)
    for name, a, b, scale in products:
        linear = model.get_submodule(name)
        assert isinstance(linear, Linear)
        model.set_submodule(name, LoRALinear(linear, a.to(linear.weight), b.to(linear.weight), scale))
    return model


def adapters(model: Transformer) -> dict[str, LoRALinear]:
    """Return the adapted layers of a model by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRALinear)}


@contextmanager
def without_adapters(model: Transformer) -> Iterator[None]:
    """Let a model compute what it did before it was adapted."""
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
    """Fold the products into the matrices, leave a plain model that trains whole, and return what was folded in."""
    folded = adapters(model)
    for name, layer in folded.items():
        plain = Linear(layer.in_features, layer.out_features, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        plain.weight.addmm_(layer.b, layer.a, alpha=layer.scale)
        model.set_submodule(name, plain)
    model.requires_grad_(True)
    return folded
