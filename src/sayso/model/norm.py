"""Norms over the last dimension: PyTorch's layer norm, and RMS norm (Zhang & Sennrich 2019).

    y = x / sqrt(mean(x^2) + eps) * gain

On a CPU, PyTorch's RMS norm makes many passes over memory; the version below takes a quarter of its time, forward and
backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.model.autograd import is_plain
from sayso.model.config import ModelConfig


def make_norm(config: ModelConfig, size: int) -> nn.Module:
    """Return a norm over `size` values, of the kind in the config; the identity for none."""
    if config.norm == "none":
        return nn.Identity()
    return RMSNorm(size, config.norm_eps) if config.norm == "rms" else nn.LayerNorm(size, config.norm_eps)


class RMSNorm(nn.Module):
    """RMS norm over the last dimension with a learned gain, initialized to 1."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., size] normalized, in its dtype."""
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
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, gain, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        product = grad_y * unit
        grad_gain = product.flatten(0, -2).sum(0)
        grad_unit = grad_y * gain
        mean = (product @ gain).unsqueeze(-1).div_(-gain.numel())
        return grad_unit.addcmul_(unit, mean).mul_(scale), grad_gain, None
