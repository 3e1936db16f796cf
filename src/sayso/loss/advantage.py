"""Advantages for policy gradients: how much better than expected a reply, or a token of it, is.

Takes scores of replies, grouped by prompt, or rewards and values of tokens; returns advantages of the same shape.
P prompts, G replies of each, B rows, T time.
"""

from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["group", "others", "batch", "value"]
"""Baseline of a reply: its group's mean, that of the others in the group, the batch's, or a value model's estimate."""
AdvantageScale = Literal["group", "batch", "none"]
"""Standard deviation by which advantages are divided."""
_LEAST = 1e-4  # added to a standard deviation (Shao et al. 2024): a group of equal scores has zero


def group_advantages(scores: Tensor, baseline: Baseline, scale: AdvantageScale) -> Tensor:
    """Return advantages [P, G] of scores [P, G]; zero for a group whose scores are all equal, except with "batch".

    - group: A = (R - mean of the group) / (its standard deviation), GRPO (Shao et al. 2024); without the division
      easy and hard prompts have equal weight, Dr. GRPO (Liu et al. 2025)
    - others: A_i = R_i - mean of R_j, j != i, RLOO (Kool et al. 2019; Ahmadian et al. 2024): unbiased
    - batch: A = R - mean of all, REINFORCE (Williams 1992)
    """
    assert baseline != "value", "a value model's advantages are those of `gae`"
    if baseline == "batch":
        centred = scores - scores.mean()
    else:
        centred = scores - scores.mean(1, keepdim=True)
        if baseline == "others":
            size = scores.shape[1]
            assert size > 1, "leave-one-out needs at least two replies per group"
            centred = centred * (size / (size - 1))
    if scale == "group":
        return centred / (scores.std(1, keepdim=True) + _LEAST)
    return centred / (scores.std() + _LEAST) if scale == "batch" else centred


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return advantages and returns [B, T] of rewards and values [B, T] (Schulman et al. 2016).

        delta_t = R_t + gamma V_t+1 - V_t        A_t = delta_t + gamma lam A_t+1        return_t = A_t + V_t

    over the positions where `mask` is true, in their order: others (tool output, padding) are skipped, and
    zero. After the last position of a row the expected value is zero.
    """
    advantages = torch.zeros_like(rewards)
    after = torch.zeros_like(rewards[:, 0])  # the advantage and the value of the next unmasked position
    value = torch.zeros_like(after)
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        gained = rewards[:, t] + gamma * value - values[:, t] + gamma * lam * after
        after, value = torch.where(here, gained, after), torch.where(here, values[:, t], value)
        advantages[:, t] = gained.where(here, 0.0)
    return advantages, (advantages + values).where(mask, 0.0)


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with a mean of 0 and a variance of 1 where `mask` is true; 0 elsewhere."""
    chosen = x[mask]
    mean, deviation = chosen.mean(), chosen.std(correction=0)
    return ((x - mean) / (deviation + 1e-8)).where(mask, 0.0)
