"""How far the policy has gone from the reference: estimates from the tokens that were sampled, and the exact value.

Log-probabilities of sampled tokens enter, one number a token leaves, whose mean is the divergence. With d = log p -
log r under the policy p and the reference r (Schulman 2020, "Approximating KL divergence"):

    k1 = d             unbiased, wide; right in a reward, useless as a loss (its expected gradient is zero)
    k2 = d^2 / 2       biased; its gradient is that of the divergence
    k3 = e^-d - 1 + d  unbiased, narrow, never negative; as a loss its gradient is biased
    k3+                k3's value with k2's gradient: what to show and what to learn from
"""

from typing import Literal

import torch
from torch import Tensor

KLEstimator = Literal["k1", "k2", "k3", "k3+"]
FURTHEST = 20.0  # nats: what a token may be apart before e^-d overflows (as verl has it)
STEP = 0.2  # of the target: how far off counts, in either direction (Ziegler et al. 2019)


def kl_estimate(policy: Tensor, reference: Tensor, kind: KLEstimator) -> Tensor:
    """Return an estimate of KL(policy, reference) for each token, of the shape of both log-probabilities."""
    apart = policy - reference
    if kind == "k1":
        return apart
    half_square = apart.square() / 2
    if kind == "k2":
        return half_square
    narrow = torch.expm1((-apart).clamp(-FURTHEST, FURTHEST)) + apart
    return narrow if kind == "k3" else half_square + (narrow - half_square).detach()


def exact_kl(policy: Tensor, reference: Tensor) -> Tensor:
    """Return sum_v p_v (log p_v - log r_v) of logits [..., V], as [...]: the truth, where the vocabulary is small."""
    log_p, log_r = policy.log_softmax(-1), reference.log_softmax(-1)
    return (log_p.exp() * (log_p - log_r)).sum(-1)


def adapt_beta(beta: float, kl: float, target: float, replies: int, horizon: float) -> float:
    """Return the weight of the divergence after `replies` replies of `kl` nats each on average.

        beta (1 + clip(kl / target - 1, -0.2, 0.2) replies / horizon)

    It grows while the policy is further off than `target` nats a reply (Ziegler et al. 2019).
    """
    error = min(max(kl / target - 1, -STEP), STEP)
    return beta * (1 + error * replies / horizon)
