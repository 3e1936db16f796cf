"""Rotary positions (Su et al. 2021, RoFormer): turn pairs of a head's dimensions by angles that grow with position.

Takes queries or keys and positions; gives them turned, so that their product depends on the distance alone. The pairs
are (d, d + D/2), as in the Hugging Face checkpoints.
"""

import torch
from torch import Tensor


def rotary_angles(positions: Tensor, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin [..., T, D] in float32 for integer positions [..., T]."""
    exponents = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32) / head_size
    angles = positions.float()[..., None] * theta**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [B, H, T, D] by angles that broadcast to it."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)
