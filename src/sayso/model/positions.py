"""Rotary positions (Su et al. 2021, RoFormer): turn pairs of a head's dimensions by angles that grow with position.

Takes queries or keys and positions; gives them turned, so that their product depends on the distance alone. The pairs
are (d, d + D/2), as in the Hugging Face checkpoints.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.config import PLAIN, Rope


def rotary_angles(positions: Tensor, head_size: int, theta: float, rope: Rope = PLAIN) -> tuple[Tensor, Tensor]:
    """Return cos and sin [..., T, D] in float32 for integer positions [..., T].

    The first half of the sines is negative, so that a turn is x cos + swapped(x) sin, with the halves of x swapped.
    """
    angles = positions.float()[..., None] * rotary_frequencies(head_size, theta, rope, positions.device)
    cos, sin = angles.cos(), angles.sin()
    if rope.attention_factor != 1:
        cos, sin = cos * rope.attention_factor, sin * rope.attention_factor
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotary_frequencies(head_size: int, theta: float, rope: Rope, device: torch.device) -> Tensor:
    """Return the angle by which each pair turns from one position to the next, [D/2], in float32.

    A frequency f becomes f (kept + (1 - kept) / factor): `kept` is 0 for linear stretching; for llama3 it grows from 0
    to 1 with the turns in the original context, for yarn with the number of the pair, between those whose turns are
    `slow` and `fast`, rounded outwards.
    """
    exponents = torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size
    plain = theta**-exponents
    if rope.stretch == "none":
        return plain
    if rope.stretch == "linear":
        return plain / rope.factor
    if rope.stretch == "llama3":
        kept = (plain * rope.original / (2 * math.pi) - rope.slow) / (rope.fast - rope.slow)
    else:
        # the pair, perhaps between two, that turns so many times: theta^(-2 pair / D) * original = 2 pi turns
        first, last = (
            head_size / 2 * math.log(rope.original / (2 * math.pi * turns), theta) for turns in (rope.fast, rope.slow)
        )
        first, last = max(math.floor(first), 0), min(math.ceil(last), head_size - 1)
        pairs = torch.arange(head_size // 2, device=device, dtype=torch.float32)
        kept = 1 - (pairs - first) / max(last - first, 1e-3)
    kept = kept.clamp(0, 1)
    return plain * (kept + (1 - kept) / rope.factor)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [..., D] by angles of `rotary_angles` that broadcast to it."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if is_plain():
        return x * cos + torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1) * sin
    turned: Tensor = _Turn.apply(x, cos, sin)  # type: ignore[no-untyped-call]
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
