"""Activations: those of the feed-forward part by its kind, and one that torch does not have in one piece."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain


def gelu(x: Tensor) -> Tensor:
    """Return x times the normal distribution's share below x, by its tanh form (Hendrycks & Gimpel 2016)."""
    return F.gelu(x, approximate="tanh")


def relu2(x: Tensor) -> Tensor:
    """Return max(x, 0)^2 (So et al. 2021, Primer), half the passes over memory of relu and square after each other."""
    if is_plain():
        return torch.relu(x).square()
    squared: Tensor = _ReLU2.apply(x)  # type: ignore[no-untyped-call]
    return squared


def activation(mlp: str) -> Callable[[Tensor], Tensor]:
    """Return the activation of a kind of feed-forward part; of the gate where there is one."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {"swiglu": F.silu, "geglu": gelu, "gelu": gelu, "relu2": relu2}
    return functions[mlp]


class _ReLU2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        positive = torch.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (of_y * positive).mul_(2)
