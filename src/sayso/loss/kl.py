"""Estimates of the KL divergence of the policy from the reference, from sampled tokens.

Takes log-probabilities of sampled tokens, returns one number per token; the mean estimates the divergence. With
d = log p - log r under the policy p and the reference r (Schulman 2020, "Approximating KL divergence"):

    k1 = d             unbiased, high variance; suitable in a reward, useless as a loss (its expected gradient is 0)
    k2 = d^2 / 2       biased; its gradient is that of the divergence
    k3 = e^-d - 1 + d  unbiased, low variance, never negative; as a loss its gradient is biased
    k3+                k3's value with k2's gradient: for both reporting and training
"""

from typing import Literal

import torch
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3", "k3+"]
CLAMP = 20.0  # largest |d| in nats, so that e^-d does not overflow (as in verl)
_STEP = 0.2  # largest relative error in either direction (Ziegler et al. 2019)


def kl_estimate(policy: Tensor, reference: Tensor, kind: KLEstimator) -> Tensor:
    """Return an estimate of KL(policy, reference) for each token, in the shape of both log-probabilities."""
    k1 = policy - reference
    if kind == "k1":
        return k1
    k2 = k1.square() / 2
    if kind == "k2":
        return k2
    k3 = torch.expm1((-k1).clamp(-CLAMP, CLAMP)) + k1
    return k3 if kind == "k3" else k2 + (k3 - k2).detach()


def adapt_beta(beta: float, kl: float, target: float, replies: int, horizon: float) -> float:
    """Return the new weight of the divergence after `replies` replies with a mean divergence of `kl` nats.

        beta (1 + clip(kl / target - 1, -0.2, 0.2) replies / horizon)

    The weight grows while the divergence exceeds `target` nats per reply (Ziegler et al. 2019).
    """
    error = min(max(kl / target - 1, -_STEP), _STEP)
    return beta * (1 + error * replies / horizon)
