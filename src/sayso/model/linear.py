"""Linear layers whose float32 products on a CPU go to oneDNN.

    y = x W^T (+ b)

torch gives such products to MKL, which on AMD's processors runs 12 to 15 % slower than oneDNN does, and reaches
oneDNN by a switch for the whole process that also allows bfloat16. The operation below is the one by which compiled
models reach it (torch._inductor); it computes in float32. It is not part of torch's public API, so it is tried once and
passed over where it is missing or computes something else. N rows, C inputs, V outputs.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain

ROW_MULTIPLE = 32
"""oneDNN makes a kernel for each shape, which takes milliseconds: worth it where shapes come again, as in batches."""


class Linear(nn.Linear):
    """A linear layer, without a bias unless it is asked for."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False, device: str | None = None) -> None:
        super().__init__(inputs, outputs, bias=bias, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., outputs] for x [..., inputs]."""
        if is_plain() or not _suits(x, self.weight):
            return F.linear(x, self.weight, self.bias)
        y: Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [N, C] times the transpose of `weight` [V, C], which may itself be a transposed view; no gradient.

    A bias [V] is added.
    """
    if not _suits(x, weight):
        return F.linear(x, weight, bias)
    return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


@cache
def has_onednn() -> bool:
    """Whether oneDNN's product is here and gives what torch's does, for each form in which it is called."""
    generator = torch.Generator().manual_seed(0)
    x, bias = torch.randn(2, ROW_MULTIPLE, 24, generator=generator), torch.randn(40, generator=generator)
    weight = torch.randn(40, 24, generator=generator)
    turned = torch.randn(24, 40, generator=generator).T
    forms = [(weight, None), (weight, bias), (turned, None)]
    try:
        with torch.no_grad():
            return torch.backends.mkldnn.is_available() and all(
                torch.allclose(_product(x, *form), F.linear(x, *form), rtol=1e-4, atol=1e-4) for form in forms
            )
    except (AttributeError, RuntimeError, TypeError):  # not there, not for this processor, or with other arguments
        return False


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # it chooses for itself, and cannot see through `is_available`
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() % (ROW_MULTIPLE * x.shape[-1]) == 0
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and has_onednn()
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        learn_x, learn_weight, learn_bias = ctx.needs_input_grad  # type: ignore[attr-defined]
        of_x = linear(of_y, weight.T) if learn_x else None
        of_weight = of_y.flatten(0, -2).T @ x.flatten(0, -2) if learn_weight else None
        of_bias = of_y.flatten(0, -2).sum(0) if learn_bias else None
        return of_x, of_weight, of_bias
