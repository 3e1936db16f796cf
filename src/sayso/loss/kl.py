"""Estimates of the KL divergence of the policy from the reference, from sampled tokens.

Takes log-probabilities of sampled tokens, returns one number per token, whose mean is the divergence. With d = log p -
log r under the policy p and the reference r (Schulman 2020, "Approximating KL divergence"):

    k1 = d             unbiased, high variance; suitable in a reward, useless as a loss (its expected gradient is 0)
    k2 = d^2 / 2       biased; its gradient is that of the divergence
    k3 = e^-d - 1 + d  unbiased, low variance, never negative; as a loss its gradient is biased
    k3+                k3's value with k2's gradient: for both reporting and training
"""

from typing import Literal

import torch
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3", "k3+"]
FURTHEST = 20.0  # nats: clamp of d, so that e^-d does not overflow (as in verl)
_STEP = 0.2  # relative to the target: clamp of the error, in either direction (Ziegler et al. 2019)


def kl_estimate(policy: Tensor, reference: Tensor, kind: KLEstimator) -> Tensor:
    """Return an estimate of KL(policy, reference) for each token, in the shape of both log-probabilities."""
    apart = policy - reference
    if kind == "k1":
        return apart
    half_square = apart.square() / 2
    if kind == "k2":
        return half_square
    narrow = torch.expm1((-apart).clamp(-FURTHEST, FURTHEST)) + apart
    return narrow if kind == "k3" else half_square + (narrow - half_square).detach()


def adapt_beta(beta: float, kl: float, target: float, replies: int, horizon: float) -> float:
    """Return the new weight of the divergence after `replies` replies of `kl` nats each on average.

        beta (1 + clip(kl / target - 1, -0.2, 0.2) replies / horizon)

    It grows while the divergence exceeds `target` nats per reply (Ziegler et al. 2019).
    """
    error = min(max(kl / target - 1, -_STEP), _STEP)
    return beta * (1 + error * replies / horizon)
