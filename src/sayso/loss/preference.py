"""Direct preference optimisation (Rafailov et al. 2023): the chosen reply shall grow likelier than the rejected one.

    loss = -log sigmoid(beta * ((log p_w - log r_w) - (log p_l - log r_l)))

with p the policy, r the reference, w chosen, l rejected, and log-probabilities summed over a reply's tokens. At the
first step policy and reference are one, so the loss is ln 2.
"""

import torch.nn.functional as F
from torch import Tensor


def dpo_loss(policy: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Return the loss of each pair [B] and its margin [B], for reply log-probabilities [2B], chosen rows first."""
    chosen, rejected = (policy - reference).chunk(2)
    margin = beta * (chosen - rejected)
    return -F.logsigmoid(margin), margin
