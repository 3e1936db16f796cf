"""Preference losses, which make chosen replies more likely than rejected ones.

Takes log-probabilities of replies, summed over their tokens; returns the loss of each pair (or rating) and the implicit
reward of each reply. Below, D = log p - log r is the log-ratio of policy p and reference r, n is a reply's length in
tokens, _w marks chosen and _l rejected replies; B pairs are 2B rows, chosen first.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError

_LARGEST = -1e-6
"""Largest mean log-probability for odds: at 0 they and their gradient are undefined."""


class PreferenceLoss(NamedTuple):
    """Result of a loss on a batch."""

    losses: Tensor
    """[B], one per pair, or [N], one per rating."""
    rewards: Tensor
    """[2B] or [N], without gradient: the implicit rewards; a margin is chosen - rejected."""


def dpo_loss(
    policy: Tensor, reference: Tensor, beta: float, smoothing: float = 0.0, *, robust: bool = False
) -> PreferenceLoss:
    """Direct preference optimization (Rafailov et al. 2023), for reply log-probabilities [2B].

        m = beta (D_w - D_l)        loss = -(1 - e) log sigmoid(m) - e log sigmoid(-m)

    e is `smoothing`: 0 as in the paper, or the assumed fraction of mislabeled pairs (cDPO, Mitchell 2023). With
    `robust`, the loss is corrected for that fraction, so that its expectation is that of clean pairs:

        loss = (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e)        (Ray Chowdhury et al. 2024)

    At the first step policy and reference are equal, so the loss is ln 2. Raises `UserError` unless 0 <= e < 0.5.
    """
    if not 0 <= smoothing < 0.5:
        raise UserError(f"--smoothing must be at least 0 and less than 0.5; got {smoothing:g}.")
    rewards = beta * (policy - reference)
    margin = _margin(rewards)
    right, wrong = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    losses = (1 - smoothing) * right + (-smoothing if robust else smoothing) * wrong
    return PreferenceLoss(losses / (1 - 2 * smoothing) if robust else losses, rewards.detach())


def ipo_loss(policy: Tensor, reference: Tensor, beta: float, lengths: Tensor | None = None) -> PreferenceLoss:
    """Identity preference optimization (Azar et al. 2023), for reply log-probabilities [2B].

        loss = (D_w - D_l - 1 / (2 beta))^2

    The target margin is finite, so consistent pairs cannot push it to infinity. D are sums, as in the authors' and in
    OpenRLHF's code, or with `lengths` [2B] means over a reply's tokens, as in TRL. The loss starts at 1 / (2 beta)^2.
    """
    log_ratio = policy - reference if lengths is None else (policy - reference) / lengths
    return PreferenceLoss((_margin(log_ratio) - 1 / (2 * beta)) ** 2, beta * log_ratio.detach())


def kto_loss(
    policy: Tensor, reference: Tensor, good: Tensor, drift: Tensor, beta: float, *, desirable: float, undesirable: float
) -> PreferenceLoss:
    """Kahneman-Tversky optimization (Ethayarajh et al. 2024), for single ratings: `good` [N] marks the desirable ones.

        loss = desirable   (1 - sigmoid(beta (D - z)))      for a desirable reply
               undesirable (1 - sigmoid(beta (z - D)))      for an undesirable one

    z is the `drift` (see `kto_drift`), the reference point. The loss starts at half the weights.
    """
    rewards = beta * (policy - reference)
    signs = torch.where(good, 1.0, -1.0)
    weights = torch.where(good, desirable, undesirable)
    return PreferenceLoss(weights * torch.sigmoid(signs * (beta * drift - rewards)), rewards.detach())


def kto_drift(policy: Tensor, reference: Tensor) -> Tensor:
    """Return KTO's z, the divergence of the policy from the reference, max(0, mean D), without gradient.

    It is estimated on replies [M] to mismatched prompts, so that it does not depend on what is learned about a reply.
    """
    return (policy - reference).detach().mean().clamp(min=0)


def orpo_loss(policy: Tensor, lengths: Tensor, beta: float) -> PreferenceLoss:
    """Odds ratio preference optimization (Hong et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -a_w - beta log sigmoid(log odds_w - log odds_l)      a = log p / n, odds = exp(a) / (1 - exp(a))

    The first term is the next-token loss of the chosen reply per token; beta is the paper's lambda.
    """
    average = policy / lengths
    clamped = average.clamp(max=_LARGEST)
    log_odds = clamped - torch.log(-torch.expm1(clamped))
    return PreferenceLoss(-average.chunk(2)[0] - beta * F.logsigmoid(_margin(log_odds)), beta * log_odds.detach())


def simpo_loss(policy: Tensor, lengths: Tensor, beta: float, margin: float) -> PreferenceLoss:
    """Simple preference optimization (Meng et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -log sigmoid(beta (log p_w / n_w - log p_l / n_l) - margin)

    `margin` is the target margin, the paper's gamma.
    """
    rewards = beta * policy / lengths
    return PreferenceLoss(-F.logsigmoid(_margin(rewards) - margin), rewards.detach())


def _margin(sides: Tensor) -> Tensor:
    chosen, rejected = sides.chunk(2)
    return chosen - rejected
