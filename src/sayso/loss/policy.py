"""Policy gradient variants, which differ in one line each: see `METHODS`.

Takes log-probabilities of sampled tokens, current and at sampling time, with advantages; returns a sum and a count.
With r = exp(log p - log p_old), a ratio per token or per reply, and A its advantage, the loss of a token is

    max(-A r, -A clip(r, 1 - low, 1 + high))                    PPO (Schulman et al. 2017) and its kin
    -A min(r, high) log p, the first two without gradient       CISPO (MiniMax 2025): no token loses its gradient
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
    """The properties of a policy gradient variant."""

    baseline: Baseline
    scale: AdvantageScale = "none"
    ratio: Literal["none", "token", "mean", "product"] = "token"
    """Per token, or per reply: the geometric mean of its tokens' ratios (GSPO), or their product (RLOO)."""
    low: float = 0.2
    high: float = 0.2
    """Clip range of the ratio below and above 1; for a clipped weight, `high` is its maximum."""
    weight: bool = False
    """Whether the clipped ratio is a weight without gradient (CISPO) rather than differentiated."""
    dual: float = 0.0
    """Where A < 0, a token's loss is at most this times |A| (dual clip, Ye et al. 2020), such as 3; 0 = off."""
    average: Average = "tokens"
    """Over all tokens; over each reply's tokens and then over replies (tokens of long replies weigh less); or over
    replies, each one's sum divided by a constant."""


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
    """Return the loss of each token, [B, T], and per trained token the metrics ratio, clipped (0 or 1), KL from before.

    All arguments are [B, T]; `mask` is true where a token was sampled by the policy and is trained.
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
    moved = kl_estimate(logprobs.detach(), old, "k3")
    figures = {"ratio": ratio.detach()[mask], "clip_fraction": clipped[mask].float(), "kl_step": moved[mask]}
    return losses.where(mask, 0.0), figures


def averaged(losses: Tensor, mask: Tensor, average: Average, constant: float = 1.0) -> tuple[Tensor, int]:
    """Return the sum of losses [B, T] and its divisor over a whole step, according to the method.

    Rows without a trained token are ignored.
    """
    losses, lengths = losses.where(mask, 0.0), mask.sum(1)
    if average == "tokens":
        return losses.sum(), int(lengths.sum())
    divisor = lengths.clamp_min(1) if average == "replies" else constant
    return (losses.sum(1) / divisor).sum(), int((lengths > 0).sum())


def _ratio(method: PolicyMethod, logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """Return exp(log p - log p_old), [B, T]; equal for all tokens of a reply if the ratio is per reply."""
    apart = (logprobs - old).where(mask, 0.0)
    if method.ratio in ("mean", "product"):
        whole = apart.sum(1, keepdim=True)
        apart = (whole / mask.sum(1, keepdim=True).clamp_min(1) if method.ratio == "mean" else whole).expand_as(apart)
    return apart.exp()
