"""Norms over the last dimension: torch's layer norm, and RMS norm (Zhang & Sennrich 2019), which is written out.

    y = x / sqrt(mean(x^2) + eps) * gain

torch composes it of many passes over memory on a CPU; the passes below are a quarter of the time, forward and backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.config import ModelConfig


def make_norm(config: ModelConfig, size: int) -> nn.Module:
    """Return a norm of the config's kind over `size` values."""
    return RMSNorm(size, config.norm_eps) if config.norm == "rms" else nn.LayerNorm(size, config.norm_eps)


class RMSNorm(nn.Module):
    """An RMS norm over the last dimension with a learned gain, which starts at 1."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., size] normed, in its own dtype."""
        if x.device.type != "cpu" or is_plain():
            return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        squared = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squared.div_(x.shape[-1]).add_(eps).rsqrt_()
        unit = x * scale
        ctx.save_for_backward(unit, gain, scale)
        return unit * gain

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, gain, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        along = of_y * unit
        of_gain = along.flatten(0, -2).sum(0)
        of_unit = of_y * gain
        mean = (along @ gain).unsqueeze(-1).div_(-gain.numel())
        return of_unit.addcmul_(unit, mean).mul_(scale), of_gain, None
