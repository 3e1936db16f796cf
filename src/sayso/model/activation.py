"""Activation functions of the feed-forward layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain


def gelu(x: Tensor) -> Tensor:
    """Return GELU(x) in the tanh approximation (Hendrycks & Gimpel 2016)."""
    return F.gelu(x, approximate="tanh")


def relu2(x: Tensor) -> Tensor:
    """Return max(x, 0)^2 (So et al. 2021, Primer), in half the memory passes of relu followed by square."""
    if is_plain():
        return torch.relu(x).square()
    squared: Tensor = _ReLU2.apply(x)  # type: ignore[no-untyped-call]
    return squared


def activation(mlp: str) -> Callable[[Tensor], Tensor]:
    """Return the activation of a kind of feed-forward layer; in gated ones it applies to the gate."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "swiglu": F.silu, "geglu": gelu, "gelu": gelu, "relu": torch.relu, "relu2": relu2,
    }  # fmt: skip
    return functions[mlp]


class _ReLU2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        positive = torch.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (grad_y * positive).mul_(2)
