"""Computes the advantage of each token from the rewards and log-probabilities of rollouts.

Log-probabilities are recomputed by the trained model in its training precision; their difference from the sampler's
(the drift) is reported, because an importance ratio would mistake it for a change of the policy.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sayso.align.rl.critic import critic_of, values_of
from sayso.align.rl.rollout import Rollout
from sayso.batch.by_length import by_length
from sayso.batch.rollouts import RolloutBatch, RolloutRow, of_replies, rollout_batch
from sayso.loss.advantage import gae, group_advantages, whiten
from sayso.loss.logprobs import target_logprobs, target_logprobs_at
from sayso.loss.policy import PolicyMethod
from sayso.loss.value import explained_variance
from sayso.model import Transformer
from sayso.model.packed import hidden_states

TOKENS = 2**14  # of a pass that measures
ReferenceModel = Callable[[Transformer], AbstractContextManager[Transformer]]
"""Called with the policy; lets the model that it is held against compute for a while, as `Frozen.model` does."""


@dataclass(frozen=True)
class Credit:
    """How the rewards of replies become advantages of tokens."""

    method: PolicyMethod
    beta: float = 0.0
    """Weight of the KL (k1) that is taken from the reward: from each token's with a value model, else the reply's."""
    gamma: float = 1.0
    """What a reward is worth a token earlier."""
    lam: float = 0.95
    """How far back a surprise is credited (GAE); 1 = to the first token."""


@dataclass(frozen=True)
class ScoredRollouts:
    """Replies with what the models say of them."""

    rows: list[RolloutRow]
    drift: float
    """Mean of |sampler's log p - recomputed log p| over sampled tokens, in nats."""
    entropy: float
    """Of the policy, in nats a token."""
    kl_token: float
    """KL to the reference in nats a token (k1), and a reply; NaN without a reference."""
    kl: float


@torch.no_grad()
def score_rollouts(
    policy: Transformer, rollouts: Sequence[Rollout], temperature: float, reference: ReferenceModel | None = None
) -> ScoredRollouts:
    """Return rollouts with log-probabilities under the policy and the reference, and values where there is a critic.

    Rows of like length go through the models together, so that little is padding.
    """
    rows = [RolloutRow(one.prompt, one.ids, one.sampled) for one in rollouts]
    drift, entropy = [], []
    for some in by_length([len(row.prompt) + len(row.ids) for row in rows], TOKENS):
        batch = rollout_batch([rows[n] for n in some])
        hidden = hidden_states(policy, batch.ids, batch.documents)
        told = target_logprobs_at(policy, hidden, batch.targets, temperature)
        columns = {"old": told.logprobs}
        if critic_of(policy) is not None:
            columns["values"] = values_of(policy, hidden, batch.ids, batch.documents)
        if reference is not None:
            with reference(policy) as model:
                columns["reference"] = target_logprobs(
                    model, batch.ids, batch.targets, batch.documents, temperature
                ).logprobs
        drift.append(_drift(batch, told.plain, [rollouts[n] for n in some]))
        entropy.append(told.entropy[batch.targets >= 0].cpu())
        found: dict[str, Any] = {name: of_replies(x.cpu(), [rows[n] for n in some]) for name, x in columns.items()}
        for place, n in enumerate(some):
            rows[n] = replace(rows[n], **{name: column[place] for name, column in found.items()})
    apart = [_apart(row) for row in rows] if reference is not None else []
    tokens = max(1, sum(map(len, apart)))
    return ScoredRollouts(
        rows,
        drift=float(torch.cat(drift).mean()),
        entropy=float(torch.cat(entropy).mean()),
        kl_token=sum(map(sum, apart)) / tokens if apart else float("nan"),
        kl=sum(map(sum, apart)) / len(rows) if apart else float("nan"),
    )


def assign_credit(credit: Credit, rows: Sequence[RolloutRow], scores: Tensor) -> tuple[list[RolloutRow], float]:
    """Return the rows of all groups with their advantages, and the explained variance of a value model, else NaN.

    `scores` [P, G] are what the P * G replies earned, group after group. With a value model the score is the reward of
    a reply's last trained token and advantages are whitened; without one every token of a reply has the reply's.
    """
    if credit.method.baseline == "value":
        return _by_token(credit, rows, scores.flatten())
    if credit.beta:
        scores = scores - credit.beta * torch.tensor([sum(_apart(row)) for row in rows]).view(scores.shape)
    advantages = group_advantages(scores.double(), credit.method.baseline, credit.method.scale).flatten().tolist()
    pairs = zip(rows, advantages, strict=True)
    return [replace(row, advantages=[advantage] * len(row.ids)) for row, advantage in pairs], float("nan")


def _by_token(credit: Credit, rows: Sequence[RolloutRow], scores: Tensor) -> tuple[list[RolloutRow], float]:
    batch = rollout_batch(rows)
    mask = batch.targets >= 0
    rewards = -credit.beta * (batch.old - batch.reference) * mask if credit.beta else torch.zeros_like(batch.old)
    places = torch.arange(mask.shape[1]) * mask  # of a row without a trained token, 0, which the mask leaves out
    rewards.scatter_add_(1, places.amax(1, keepdim=True), scores.to(rewards.dtype)[:, None])
    advantages, returns = gae(rewards, batch.values, mask, credit.gamma, credit.lam)
    told = explained_variance(batch.values, returns, mask)
    columns = (of_replies(x, rows) for x in (whiten(advantages, mask), returns))
    found = zip(rows, *columns, strict=True)
    return [replace(row, advantages=white, returns=gained) for row, white, gained in found], told


def _apart(row: RolloutRow) -> list[float]:
    """Return k1 of each trained id."""
    triples = zip(row.old, row.reference, row.trained, strict=True)
    return [old - reference for old, reference, trained in triples if trained]


def _drift(batch: RolloutBatch, plain: Tensor, rollouts: Sequence[Rollout]) -> Tensor:
    said = torch.tensor([x for one in rollouts for x, own in zip(one.logprobs, one.sampled, strict=True) if own])
    return (plain.cpu()[batch.targets >= 0] - said).abs()
