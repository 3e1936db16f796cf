"""Advantages for policy gradients: how much better than expected a reply or a token is.

Takes scores of replies, grouped by prompt, or rewards and values of tokens; returns advantages of the same shape.
P prompts, G replies per prompt, B rows, T time.
"""

from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["group", "others", "batch", "value"]
"""Baseline of a reply: the mean of its group, of the others in the group, of the batch, or a value model's estimate."""
AdvantageScale = Literal["group", "batch", "none"]
"""Standard deviation by which advantages are divided."""
_EPS = 1e-4  # added to a standard deviation, which is zero in a group of equal scores (Shao et al. 2024)


def group_advantages(scores: Tensor, baseline: Baseline, scale: AdvantageScale) -> Tensor:
    """Return advantages [P, G] of scores [P, G]; zero for a group of equal scores, except with baseline "batch".

    - group: A = (R - mean of the group) / (its standard deviation), GRPO (Shao et al. 2024); without the division,
      easy and hard prompts have equal weight, Dr. GRPO (Liu et al. 2025)
    - others: A_i = R_i - mean of R_j, j != i, RLOO (Kool et al. 2019; Ahmadian et al. 2024): unbiased
    - batch: A = R - mean of all, REINFORCE (Williams 1992)
    """
    assert baseline != "value", "advantages of a value model are computed by `gae`"
    if baseline == "batch":
        centered = scores - scores.mean()
    else:
        centered = scores - scores.mean(1, keepdim=True)
        if baseline == "others":
            size = scores.shape[1]
            assert size > 1, "leave-one-out needs at least two replies per group"
            centered = centered * (size / (size - 1))
    if scale == "group":
        return centered / (scores.std(1, keepdim=True) + _EPS)
    return centered / (scores.std() + _EPS) if scale == "batch" else centered


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return advantages and returns [B, T] of rewards and values [B, T] (Schulman et al. 2016).

        delta_t = R_t + gamma V_t+1 - V_t        A_t = delta_t + gamma lam A_t+1        return_t = A_t + V_t

    over the positions where `mask` is true, in order; other positions (tool output, padding) are skipped and get zero.
    The value after the last position of a row is zero.
    """
    advantages = torch.zeros_like(rewards)
    next_advantage = torch.zeros_like(rewards[:, 0])  # of the next position with a true mask
    next_value = torch.zeros_like(next_advantage)
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        advantage = rewards[:, t] + gamma * next_value - values[:, t] + gamma * lam * next_advantage
        next_advantage = torch.where(here, advantage, next_advantage)
        next_value = torch.where(here, values[:, t], next_value)
        advantages[:, t] = advantage.where(here, 0.0)
    return advantages, (advantages + values).where(mask, 0.0)


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with a mean of 0 and a variance of 1 where `mask` is true; 0 elsewhere."""
    chosen = x[mask]
    mean, deviation = chosen.mean(), chosen.std(correction=0)
    return ((x - mean) / (deviation + 1e-8)).where(mask, 0.0)
