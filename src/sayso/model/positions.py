"""Rotary positions (Su et al. 2021, RoFormer): rotate pairs of a head's dimensions by angles that grow with position.

Takes queries or keys and positions; returns them rotated, so that their dot product depends only on the distance. The
pairs are (d, d + D/2), as in Hugging Face checkpoints.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.config import PLAIN, Rope


def rotary_angles(positions: Tensor, head_size: int, theta: float, rope: Rope = PLAIN) -> tuple[Tensor, Tensor]:
    """Return cos and sin [..., T, D] in float32 for integer positions [..., T].

    The first half of the sines is negated, so that a rotation is x cos + swapped(x) sin, where the halves are swapped.
    """
    angles = positions.float()[..., None] * rotary_frequencies(head_size, theta, rope, positions.device)
    cos, sin = angles.cos(), angles.sin()
    if rope.attention_factor != 1:
        cos, sin = cos * rope.attention_factor, sin * rope.attention_factor
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotary_frequencies(head_size: int, theta: float, rope: Rope, device: torch.device) -> Tensor:
    """Return the angle between adjacent positions for each pair, [D/2], in float32.

    Scaling turns a frequency f into f (kept + (1 - kept) / factor). `kept` is 0 for linear; for llama3 it rises
    linearly from 0 to 1 as the rotations in the original context go from `slow` to `fast`, and for yarn linearly in
    the index of the pair between those two points, rounded outwards.
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
        # the fractional pair with a given number of rotations: theta^(-2 pair / D) * original = 2 pi rotations
        first, last = (
            head_size / 2 * math.log(rope.original / (2 * math.pi * rotations), theta)
            for rotations in (rope.fast, rope.slow)
        )
        first, last = max(math.floor(first), 0), min(math.ceil(last), head_size - 1)
        pairs = torch.arange(head_size // 2, device=device, dtype=torch.float32)
        kept = 1 - (pairs - first) / max(last - first, 1e-3)
    kept = kept.clamp(0, 1)
    return plain * (kept + (1 - kept) / rope.factor)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x [..., D] rotated by cosines and sines from `rotary_angles`, which are broadcast to it."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if is_plain():
        return x * cos + torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1) * sin
    rotated: Tensor = _Rotate.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return rotated


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((second, first), dim=-1).mul_(sin).addcmul_(x, cos)


class _Rotate(torch.autograd.Function):
    """Rotation; its gradient is the rotation by the opposite angle."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rotate(grad_y, cos, -sin), None, None
