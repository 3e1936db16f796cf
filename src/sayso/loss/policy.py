"""Policy gradient variants, listed in `METHODS`.

Takes log-probabilities of sampled tokens, current and at sampling time, and advantages; returns a sum and a count.
With r = exp(log p - log p_old), a ratio per token or per reply, and the advantage A, the loss of a token is

    max(-A r, -A clip(r, 1 - low, 1 + high))                    PPO (Schulman et al. 2017) and its variants
    -A min(r, high) log p, no gradient through min(r, high)     CISPO (MiniMax 2025): every token keeps its gradient
    -A log p                                                    REINFORCE (Williams 1992)

B rows, T time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from sayso.loss.advantage import AdvantageScale, Baseline
from sayso.loss.kl import kl_estimate

Average = Literal["tokens", "replies", "constant"]


@dataclass(frozen=True)
class PolicyMethod:
    """Settings of a policy gradient variant."""

    baseline: Baseline
    scale: AdvantageScale = "none"
    ratio: Literal["none", "token", "mean", "product"] = "token"
    """Ratio r: none, per token, or per reply as the geometric mean (GSPO) or the product (RLOO) of its tokens'."""
    low: float = 0.2
    """Clip range of the ratio below 1."""
    high: float = 0.2
    """Clip range of the ratio above 1; with `weight`, the maximum of the ratio."""
    weight: bool = False
    """Whether the clipped ratio is a weight without gradient (CISPO)."""
    dual: float = 0.0
    """If A < 0, limit of a token's loss as a multiple of |A|, such as 3 (dual clip, Ye et al. 2020); 0 = off."""
    average: Average = "tokens"
    """Mean over all tokens; over each reply's tokens, then over replies (tokens of long replies weigh less); or over
    replies of the sum divided by a constant."""


METHODS: Mapping[str, PolicyMethod] = MappingProxyType(
    {
        "reinforce": PolicyMethod("batch", ratio="none", average="constant"),
        "rloo": PolicyMethod("others", ratio="product", average="replies"),  # Ahmadian et al. 2024
        "ppo": PolicyMethod("value", scale="batch"),  # Ouyang et al. 2022
        "grpo": PolicyMethod("group", scale="group", average="replies"),  # Shao et al. 2024
        "dr-grpo": PolicyMethod("group", average="constant"),  # Liu et al. 2025
        "dapo": PolicyMethod("group", scale="group", high=0.28),  # Yu et al. 2025, with dynamic sampling
        # Zheng et al. 2025
        "gspo": PolicyMethod("group", scale="group", ratio="mean", low=3e-4, high=4e-4, average="replies"),
        "cispo": PolicyMethod("group", scale="group", high=5.0, weight=True),
    }
)


def token_losses(
    method: PolicyMethod, logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of each token, [B, T], and metrics per trained token: ratio, clipped (0 or 1) and KL.

    All arguments are [B, T]; `mask` is true for trained tokens, which the policy sampled. The KL divergence is that
    from the policy at sampling time.
    """
    ratio = _ratio(method, logprobs, old, mask)
    if method.ratio == "none":
        losses, clipped = -advantages * logprobs, torch.zeros_like(mask)
    elif method.weight:
        weight = ratio.detach().clamp_max(method.high)
        losses, clipped = -advantages * weight * logprobs, ratio > method.high
    else:
        plain = -advantages * ratio
        bounded = -advantages * ratio.clamp(1 - method.low, 1 + method.high)
        losses, clipped = torch.maximum(plain, bounded), bounded > plain
        if method.dual:
            losses = torch.where(advantages < 0, losses.minimum(-advantages * method.dual), losses)
    kl = kl_estimate(logprobs.detach(), old, "k3")
    figures = {"ratio": ratio.detach()[mask], "clip_fraction": clipped[mask].float(), "kl_step": kl[mask]}
    return losses.where(mask, 0.0), figures


def averaged(losses: Tensor, mask: Tensor, average: Average, constant: float = 1.0) -> tuple[Tensor, int]:
    """Return the sum of losses [B, T] and its divisor, both to be added up over a step.

    Rows without a trained token are ignored.
    """
    losses, lengths = losses.where(mask, 0.0), mask.sum(1)
    if average == "tokens":
        return losses.sum(), int(lengths.sum())
    divisor = lengths.clamp_min(1) if average == "replies" else constant
    return (losses.sum(1) / divisor).sum(), int((lengths > 0).sum())


def _ratio(method: PolicyMethod, logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """Return exp(log p - log p_old), [B, T]; equal for all tokens of a reply if the ratio is per reply."""
    log_ratio = (logprobs - old).where(mask, 0.0)
    if method.ratio in ("mean", "product"):
        total = log_ratio.sum(1, keepdim=True)
        per_reply = total / mask.sum(1, keepdim=True).clamp_min(1) if method.ratio == "mean" else total
        log_ratio = per_reply.expand_as(log_ratio)
    return log_ratio.exp()
