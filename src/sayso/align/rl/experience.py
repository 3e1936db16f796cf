"""Computes the advantage of each token from the rewards and log-probabilities of rollouts.

Log-probabilities are recomputed with the code and precision of training. Their difference from the sampler's, the
drift, is reported, because an importance ratio would mistake it for a change of the policy.
"""

import math
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

TOKENS = 2**14  # maximum tokens of a forward pass
ReferenceModel = Callable[[Transformer], AbstractContextManager[Transformer]]
"""Called with the policy; returns a context that yields the reference model, as `Frozen.model` does."""


@dataclass(frozen=True)
class Credit:
    """How the rewards of replies are converted to advantages of tokens."""

    method: PolicyMethod
    beta: float = 0.0
    """Weight of the KL (k1) subtracted from the reward: of each token with a value model, otherwise of the reply."""
    gamma: float = 1.0
    """Discount factor per token."""
    lam: float = 0.95
    """Lambda of generalized advantage estimation (GAE); 1 = no bias from the value model."""


@dataclass(frozen=True)
class ScoredRollouts:
    """Replies with their log-probabilities and values."""

    rows: list[RolloutRow]
    drift: float
    """Mean of |sampler's log p - recomputed log p| over sampled tokens, in nats."""
    entropy: float
    """Entropy of the policy, in nats per token."""
    kl_token: float
    """KL to the reference (k1), in nats per token; NaN without a reference."""
    kl: float
    """KL to the reference (k1), in nats per reply; NaN without a reference."""


@torch.no_grad()
def score_rollouts(
    policy: Transformer, rollouts: Sequence[Rollout], temperature: float, reference: ReferenceModel | None = None
) -> ScoredRollouts:
    """Return rollouts with log-probabilities under the policy and the reference, and values if there is a value model.

    Rows of similar length are batched together, to reduce padding.
    """
    rows = [RolloutRow(one.prompt, one.ids, one.sampled) for one in rollouts]
    drift, entropy = [], []
    for some in by_length([len(row.prompt) + len(row.ids) for row in rows], TOKENS):
        batch = rollout_batch([rows[n] for n in some])
        hidden = hidden_states(policy, batch.ids, batch.documents)
        computed = target_logprobs_at(policy, hidden, batch.targets, temperature)
        columns = {"old": computed.logprobs}
        if critic_of(policy) is not None:
            columns["values"] = values_of(policy, hidden, batch.ids, batch.documents)
        if reference is not None:
            with reference(policy) as model:
                columns["reference"] = target_logprobs(
                    model, batch.ids, batch.targets, batch.documents, temperature
                ).logprobs
        drift.append(_drift(batch, computed.plain, [rollouts[n] for n in some]))
        entropy.append(computed.entropy[batch.targets >= 0].cpu())
        lists: dict[str, Any] = {name: of_replies(x.cpu(), [rows[n] for n in some]) for name, x in columns.items()}
        for place, n in enumerate(some):
            rows[n] = replace(rows[n], **{name: column[place] for name, column in lists.items()})
    kl = [_kl(row) for row in rows] if reference is not None else []
    total, tokens = sum(map(sum, kl)), max(1, sum(map(len, kl)))
    return ScoredRollouts(
        rows,
        drift=float(torch.cat(drift).mean()),
        entropy=float(torch.cat(entropy).mean()),
        kl_token=total / tokens if kl else math.nan,
        kl=total / len(rows) if kl else math.nan,
    )


def assign_credit(credit: Credit, rows: Sequence[RolloutRow], scores: Tensor) -> tuple[list[RolloutRow], float]:
    """Return the rows with their advantages, and the explained variance of the value model, NaN without one.

    `scores` [P, G] are the rewards of the P * G replies, group after group. With a value model, the score is the reward
    of a reply's last trained token, and advantages are whitened. Without one, all tokens of a reply have its advantage.
    """
    if credit.method.baseline == "value":
        return _by_token(credit, rows, scores.flatten())
    if credit.beta:
        scores = scores - credit.beta * torch.tensor([sum(_kl(row)) for row in rows]).view(scores.shape)
    advantages = group_advantages(scores.double(), credit.method.baseline, credit.method.scale).flatten().tolist()
    pairs = zip(rows, advantages, strict=True)
    return [replace(row, advantages=[advantage] * len(row.ids)) for row, advantage in pairs], math.nan


def _by_token(credit: Credit, rows: Sequence[RolloutRow], scores: Tensor) -> tuple[list[RolloutRow], float]:
    batch = rollout_batch(rows)
    mask = batch.targets >= 0
    rewards = -credit.beta * (batch.old - batch.reference) * mask if credit.beta else torch.zeros_like(batch.old)
    places = torch.arange(mask.shape[1]) * mask  # 0 for a row without a trained token, which is masked
    rewards.scatter_add_(1, places.amax(1, keepdim=True), scores.to(rewards.dtype)[:, None])
    advantages, returns = gae(rewards, batch.values, mask, credit.gamma, credit.lam)
    explained = explained_variance(batch.values, returns, mask)
    triples = zip(rows, of_replies(whiten(advantages, mask), rows), of_replies(returns, rows), strict=True)
    return [replace(row, advantages=own, returns=targets) for row, own, targets in triples], explained


def _kl(row: RolloutRow) -> list[float]:
    """Return the KL estimate k1 of each trained id."""
    triples = zip(row.old, row.reference, row.trained, strict=True)
    return [old - reference for old, reference, trained in triples if trained]


def _drift(batch: RolloutBatch, plain: Tensor, rollouts: Sequence[Rollout]) -> Tensor:
    sampled = torch.tensor([x for one in rollouts for x, own in zip(one.logprobs, one.sampled, strict=True) if own])
    return (plain.cpu()[batch.targets >= 0] - sampled).abs()
