"""Value model of a policy: predicts the reward of a reply after each token.

It is either a separate network (`own`), initialized from the policy or a reward model, or a linear layer on the last
hidden states of the policy (`shared`), which costs little but shares the policy's network. It is added to the policy as
a module, so that it is trained, saved and resumed with it, and removed before the policy is saved.
"""

from copy import deepcopy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from sayso.model import Transformer
from sayso.model.linear import Linear
from sayso.model.score import add_score, score_head, token_scores

CriticKind = Literal["own", "shared"]
OWN, SHARED = "critic", "value"


def add_critic(policy: Transformer, kind: CriticKind, begin: Transformer | None = None) -> nn.Module:
    """Add a value model to a policy and return it; an own one is initialized from `begin` or from the policy.

    Its initial values are 0, unless it is initialized from a reward model.
    """
    critic: nn.Module
    if kind == "own":
        critic = deepcopy(begin if begin is not None else policy).requires_grad_(True)
        assert isinstance(critic, Transformer)
        if score_head(critic) is None:
            add_score(critic, std=0.0)
        critic.train()
        policy.add_module(OWN, critic)
    else:
        critic = Linear(policy.config.width, 1, bias=True, device=policy.device.type)
        nn.init.zeros_(critic.weight)
        nn.init.zeros_(critic.bias)
        policy.add_module(SHARED, critic)
    return critic


def critic_of(policy: Transformer) -> nn.Module | None:
    """Return the value model of a policy; None if it has none."""
    return cast(nn.Module | None, getattr(policy, OWN, None) or getattr(policy, SHARED, None))


def remove_critic(policy: Transformer) -> None:
    """Remove the value model of a policy, if it has one."""
    for name in (OWN, SHARED):
        if hasattr(policy, name):
            delattr(policy, name)


def values_of(policy: Transformer, hidden: Tensor, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the value after each token [B, T]; `hidden` [B, T, C] are the policy's last hidden states."""
    critic = critic_of(policy)
    assert critic is not None, "the policy has a value model"
    if isinstance(critic, Transformer):
        return token_scores(critic, ids, documents)
    values: Tensor = critic(hidden)[..., 0]
    return values.to(torch.promote_types(values.dtype, torch.float32))
