"""Preference losses on whole replies: chosen replies should become likelier than rejected ones.

Takes log-probabilities of replies, summed over their tokens; returns the loss of each pair (or rating) and the policy's
implicit reward of each reply. Below, D = log p - log r is the log-ratio of policy p and
reference r, l is a reply's length in tokens, w marks chosen, l rejected; B pairs are 2B rows, chosen first.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError

SURE = -1e-6
"""The largest mean log-probability for odds: at 0 they and their gradient are undefined."""


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

    With `smoothing` e = 0 it is the paper's; e > 0 assumes that a share e of the pairs is mislabeled (cDPO,
    Mitchell 2023). `robust` corrects for that share instead, so that the expected loss is that of clean pairs:

        loss = (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e)        (Ray Chowdhury et al. 2024)

    At the first step policy and reference are equal, so the loss is ln 2. Raises `UserError` unless 0 <= e < 0.5.
    """
    if not 0 <= smoothing < 0.5:
        raise UserError(f"--smoothing (share of mislabeled pairs) must be from 0 to below 0.5; got {smoothing}.")
    rewards = beta * (policy - reference)
    margin = _margin(rewards)
    right, wrong = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    losses = (1 - smoothing) * right + (-smoothing if robust else smoothing) * wrong
    return PreferenceLoss(losses / (1 - 2 * smoothing) if robust else losses, rewards.detach())


def ipo_loss(policy: Tensor, reference: Tensor, beta: float, lengths: Tensor | None = None) -> PreferenceLoss:
    """Identity preference optimization (Azar et al. 2023), for reply log-probabilities [2B].

        loss = (D_w - D_l - 1 / (2 beta))^2

    The target margin is finite, so that pairs which all agree cannot push it to infinity. D are sums, as in the
    authors' and in OpenRLHF's code; with `lengths` [2B] they are means over a reply's tokens, as in TRL. It starts at
    1 / (2 beta)^2.
    """
    gained = policy - reference if lengths is None else (policy - reference) / lengths
    return PreferenceLoss((_margin(gained) - 1 / (2 * beta)) ** 2, beta * gained.detach())


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
    """Return the divergence of the policy from the reference, max(0, mean D), without gradient: KTO's z.

    It is estimated on replies [M] to mismatched prompts, so that it does not contain what is learned of a reply.
    """
    return (policy - reference).detach().mean().clamp(min=0)


def orpo_loss(policy: Tensor, lengths: Tensor, beta: float) -> PreferenceLoss:
    """Odds ratio preference optimization (Hong et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -a_w - beta log sigmoid(log odds_w - log odds_l)      a = log p / l, odds = exp(a) / (1 - exp(a))

    The first term is the next-token loss of the chosen reply per token; beta is the paper's lambda.
    """
    average = policy / lengths
    sure = average.clamp(max=SURE)
    odds = sure - torch.log(-torch.expm1(sure))
    return PreferenceLoss(-average.chunk(2)[0] - beta * F.logsigmoid(_margin(odds)), beta * odds.detach())


def simpo_loss(policy: Tensor, lengths: Tensor, beta: float, margin: float) -> PreferenceLoss:
    """Simple preference optimization (Meng et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -log sigmoid(beta (log p_w / l_w - log p_l / l_l) - margin)

    `margin` is the paper's gamma, the target margin of a chosen reply.
    """
    rewards = beta * policy / lengths
    return PreferenceLoss(-F.logsigmoid(_margin(rewards) - margin), rewards.detach())


def _margin(sides: Tensor) -> Tensor:
    chosen, rejected = sides.chunk(2)
    return chosen - rejected
