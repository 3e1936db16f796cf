"""Losses on comparisons of whole replies: what was chosen shall grow likelier than what was rejected.

Log-probabilities of replies, summed over their tokens, enter; the loss of each pair (or rating) and the reward that the
policy implicitly gives each reply leave. Below, D = log p - log r is how much likelier the policy p holds a reply than
the reference r does, l is a reply's length in tokens, w marks chosen, l rejected; B pairs lie in 2B rows, chosen first.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError

SURE = -1e-6
"""The largest mean log-probability that odds are taken of: at 0 they, and their gradient, have no number."""


class PreferenceLoss(NamedTuple):
    """What a loss says of a batch."""

    losses: Tensor
    """[B], one for each pair, or [N], one for each rating."""
    rewards: Tensor
    """[2B] or [N], without gradient: what the policy implicitly gives each reply; a margin is chosen - rejected."""


def dpo_loss(
    policy: Tensor, reference: Tensor, beta: float, smoothing: float = 0.0, *, robust: bool = False
) -> PreferenceLoss:
    """Direct preference optimisation (Rafailov et al. 2023), for reply log-probabilities [2B].

        m = beta (D_w - D_l)        loss = -(1 - e) log sigmoid(m) - e log sigmoid(-m)

    With `smoothing` e = 0 it is the paper's; e > 0 believes that a share e of the pairs is the wrong way round (cDPO,
    Mitchell 2023). `robust` takes that share out instead, so that the expected loss is the one of clean pairs:

        loss = (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e)        (Ray Chowdhury et al. 2024)

    At the first step policy and reference are one, so the loss is ln 2. Raises `UserError` unless 0 <= e < 0.5.
    """
    if not 0 <= smoothing < 0.5:
        raise UserError(f"--smoothing is the share of pairs the wrong way round, from 0 to below 0.5; got {smoothing}.")
    rewards = beta * (policy - reference)
    margin = _margin(rewards)
    right, wrong = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    losses = (1 - smoothing) * right + (-smoothing if robust else smoothing) * wrong
    return PreferenceLoss(losses / (1 - 2 * smoothing) if robust else losses, rewards.detach())


def ipo_loss(policy: Tensor, reference: Tensor, beta: float, lengths: Tensor | None = None) -> PreferenceLoss:
    """Identity preference optimisation (Azar et al. 2023), for reply log-probabilities [2B].

        loss = (D_w - D_l - 1 / (2 beta))^2

    The margin is drawn to a finite distance, so that pairs which all agree cannot drive it away. D are sums, as in the
    authors' and in OpenRLHF's code; with `lengths` [2B] they are means over a reply's tokens, as in TRL. It starts at
    1 / (2 beta)^2.
    """
    gained = policy - reference if lengths is None else (policy - reference) / lengths
    return PreferenceLoss((_margin(gained) - 1 / (2 * beta)) ** 2, beta * gained.detach())


def kto_loss(
    policy: Tensor, reference: Tensor, good: Tensor, drift: Tensor, beta: float, *, desirable: float, undesirable: float
) -> PreferenceLoss:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024), for single ratings: `good` [N] says which are liked.

        loss = desirable   (1 - sigmoid(beta (D - z)))      of a liked reply
               undesirable (1 - sigmoid(beta (z - D)))      of a disliked one

    z is the `drift` (see `kto_drift`), what a reply counts against. It starts at half the weights.
    """
    rewards = beta * (policy - reference)
    signs = torch.where(good, 1.0, -1.0)
    weights = torch.where(good, desirable, undesirable)
    return PreferenceLoss(weights * torch.sigmoid(signs * (beta * drift - rewards)), rewards.detach())


def kto_drift(policy: Tensor, reference: Tensor) -> Tensor:
    """Return how far the policy has gone from the reference, max(0, mean D), without gradient: KTO's z.

    It is taken over replies [M] to prompts that they do not belong to, so that what is learned of a reply is not in it.
    """
    return (policy - reference).detach().mean().clamp(min=0)


def orpo_loss(policy: Tensor, lengths: Tensor, beta: float) -> PreferenceLoss:
    """Odds ratio preference optimisation (Hong et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -a_w - beta log sigmoid(log odds_w - log odds_l)      a = log p / l, odds = exp(a) / (1 - exp(a))

    The first part is the plain loss of a token of the chosen reply; beta is the paper's lambda.
    """
    average = policy / lengths
    sure = average.clamp(max=SURE)
    odds = sure - torch.log(-torch.expm1(sure))
    return PreferenceLoss(-average.chunk(2)[0] - beta * F.logsigmoid(_margin(odds)), beta * odds.detach())


def simpo_loss(policy: Tensor, lengths: Tensor, beta: float, margin: float) -> PreferenceLoss:
    """Simple preference optimisation (Meng et al. 2024), for log-probabilities and lengths [2B]; no reference.

        loss = -log sigmoid(beta (log p_w / l_w - log p_l / l_l) - margin)

    `margin` is the paper's gamma, by which a chosen reply shall win.
    """
    rewards = beta * policy / lengths
    return PreferenceLoss(-F.logsigmoid(_margin(rewards) - margin), rewards.detach())


def _margin(sides: Tensor) -> Tensor:
    chosen, rejected = sides.chunk(2)
    return chosen - rejected
