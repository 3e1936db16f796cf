"""Linear layers that use oneDNN for float32 products on a CPU.

    y = x W^T (+ b)

PyTorch uses MKL, which is 12 to 15 % slower than oneDNN on AMD processors; its only switch to oneDNN is process-wide
and also allows bfloat16. The operation below is the one that compiled models call (torch._inductor); it computes in
float32. It is not public API, so it is tested once and not used if it is missing or gives another result.
N rows, C inputs, V outputs.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain

ROW_MULTIPLE = 32
"""oneDNN takes milliseconds to create a kernel for each shape, which pays off only for recurring shapes (batches)."""


class Linear(nn.Linear):
    """Linear layer, by default without a bias."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False, device: str | None = None) -> None:
        super().__init__(inputs, outputs, bias=bias, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., outputs] for x [..., inputs]."""
        if is_plain() or not _suits(x, self.weight):
            return F.linear(x, self.weight, self.bias)
        y: Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [N, C] times the transpose of `weight` [V, C], plus a bias [V] if given; has no gradient.

    `weight` may be a transposed view.
    """
    if not _suits(x, weight):
        return F.linear(x, weight, bias)
    return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


@cache
def has_onednn() -> bool:
    """Whether oneDNN's product is available and agrees with PyTorch's, in each form that is used."""
    generator = torch.Generator().manual_seed(0)
    x, bias = torch.randn(2, ROW_MULTIPLE, 24, generator=generator), torch.randn(40, generator=generator)
    weight = torch.randn(40, 24, generator=generator)
    transposed = torch.randn(24, 40, generator=generator).T
    forms = [(weight, None), (weight, bias), (transposed, None)]
    try:
        with torch.no_grad():
            return torch.backends.mkldnn.is_available() and all(
                torch.allclose(_product(x, *form), F.linear(x, *form), rtol=1e-4, atol=1e-4) for form in forms
            )
    except (AttributeError, RuntimeError, TypeError):  # missing, unsupported by this CPU, or another signature
        return False


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # the compiler chooses kernels itself, and cannot trace `is_available`
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
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        learn_x, learn_weight, learn_bias = ctx.needs_input_grad  # type: ignore[attr-defined]
        grad_x = linear(grad_y, weight.T) if learn_x else None
        grad_weight = grad_y.flatten(0, -2).T @ x.flatten(0, -2) if learn_weight else None
        grad_bias = grad_y.flatten(0, -2).sum(0) if learn_bias else None
        return grad_x, grad_weight, grad_bias
