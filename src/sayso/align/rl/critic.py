"""Value model of a policy: the expected reward of a reply after each token.

It is either a trunk of its own (`own`), begun from the policy or from a reward model, or one linear layer on the
policy's last states (`shared`), which costs next to nothing and pulls at the trunk that the policy speaks with. Put on
from outside as a module of the policy, it is trained, saved and resumed with it, and taken off before that is kept.
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
    """Put a value model on a policy and return it; an own one begins as `begin`, or as a copy of the policy.

    Its first values are 0, unless it begins as a reward model.
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
    """Return the value model on a policy, if there is one."""
    return cast(nn.Module | None, getattr(policy, OWN, None) or getattr(policy, SHARED, None))


def remove_critic(policy: Transformer) -> None:
    """Leave the policy alone again."""
    for name in (OWN, SHARED):
        if hasattr(policy, name):
            delattr(policy, name)


def values_of(policy: Transformer, hidden: Tensor, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the value after each token [B, T]; `hidden` [B, T, C] are the policy's own last states."""
    critic = critic_of(policy)
    assert critic is not None, "a policy with a value model"
    if isinstance(critic, Transformer):
        return token_scores(critic, ids, documents)
    values: Tensor = critic(hidden)[..., 0]
    return values.to(torch.promote_types(values.dtype, torch.float32))
