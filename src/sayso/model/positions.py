"""Rotary positions (Su et al. 2021, RoFormer): turn pairs of a head's dimensions by angles that grow with position.

Takes queries or keys and positions; gives them turned, so that their product depends on the distance alone. The pairs
are (d, d + D/2), as in the Hugging Face checkpoints.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def rotary_angles(positions: Tensor, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin [..., T, D] in float32 for integer positions [..., T].

    The first half of the sines is negative, so that a turn is x cos + swapped(x) sin, with the halves of x swapped.
    """
    exponents = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32) / head_size
    angles = positions.float()[..., None] * theta**-exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [..., D] by angles of `rotary_angles` that broadcast to it."""
    turned: Tensor = _Turn.apply(x, cos.to(x.dtype), sin.to(x.dtype))  # type: ignore[no-untyped-call]
    return turned


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((second, first), dim=-1).mul_(sin).addcmul_(x, cos)


class _Turn(torch.autograd.Function):
    """A turn, and backward the turn by the opposite angle."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        return _turn(of_y, cos, -sin), None, None
