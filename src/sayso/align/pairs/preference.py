"""Preference losses as a `Term`: the loss and metrics of a batch under the policy and its reference.

Metrics, with a value per pair or rating: the implicit rewards of chosen and rejected replies, their log-probabilities,
the margin between the rewards, and the accuracy, whether the margin is positive.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sayso.align.pairs.reference import PreferenceReference, reply_logprobs
from sayso.batch.batch import Batch
from sayso.batch.pairs import PairBatch
from sayso.batch.ratings import RatingBatch
from sayso.loss.next_token import IGNORE
from sayso.loss.preference import PreferenceLoss, dpo_loss, ipo_loss, kto_drift, kto_loss, orpo_loss, simpo_loss
from sayso.loss.term import Term
from sayso.model import Transformer

LossName = Literal["dpo", "ipo", "kto", "orpo", "simpo"]
WITH_REFERENCE = ("dpo", "ipo", "kto")


@dataclass(frozen=True)
class Preference:
    """A loss and its hyperparameters."""

    loss: LossName
    beta: float
    nll: float = 0.0
    """Weight of the chosen reply's loss per token, so that its likelihood does not fall (RPO, Pang et al. 2024)."""
    margin: float = 0.0
    """SimPO's gamma."""
    smoothing: float = 0.0
    """DPO's label smoothing: the assumed share of pairs with swapped labels."""
    robust: bool = False
    """Whether DPO uses the unbiased robust loss instead of label smoothing."""
    average: bool = False
    """Whether IPO averages over tokens instead of summing."""
    good_weight: float = 1.0
    """KTO's weight of a good rating, relative to a bad one."""


@dataclass(frozen=True)
class PairTerm:
    """Loss of a batch of pairs."""

    preference: Preference
    reference: PreferenceReference | None
    """None for a loss that does not need a reference."""

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the summed loss of a batch of pairs, their number, the tokens seen, and the metrics."""
        policy = reply_logprobs(model, batch)
        lengths = (batch.targets != IGNORE).sum(1).to(policy.device)
        losses, rewards = self._losses(model, batch, policy, lengths)
        average = (policy / lengths).chunk(2)[0]
        if self.preference.nll:
            losses = losses - self.preference.nll * average
        (chosen, rejected), (chosen_logprob, rejected_logprob) = rewards.chunk(2), policy.detach().chunk(2)
        margin = chosen - rejected
        figures = {
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "margin": margin,
            "accuracy": (margin.sign() + 1) / 2,  # a tie is half right
            "chosen_logprob": chosen_logprob,
            "rejected_logprob": rejected_logprob,
        }
        return Term(losses.sum(), len(losses), batch.ids.numel(), figures, batch.trained)

    def _losses(self, model: Transformer, batch: Batch, policy: Tensor, lengths: Tensor) -> PreferenceLoss:
        preference = self.preference
        if preference.loss == "orpo":
            return orpo_loss(policy, lengths, preference.beta)
        if preference.loss == "simpo":
            return simpo_loss(policy, lengths, preference.beta, preference.margin)
        assert self.reference is not None
        sides = torch.arange(2).repeat_interleave(batch.items)
        reference = self.reference.logprobs(model, batch, sides)
        if preference.loss == "ipo":
            return ipo_loss(policy, reference, preference.beta, lengths if preference.average else None)
        return dpo_loss(policy, reference, preference.beta, preference.smoothing, robust=preference.robust)


@dataclass(frozen=True)
class RatingTerm:
    """Loss of a batch of single ratings (KTO)."""

    preference: Preference
    reference: PreferenceReference

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the summed loss of a batch of ratings, their number, the tokens seen, and the metrics."""
        assert isinstance(batch, RatingBatch)
        preference, drift = self.preference, self._drift(model, batch.others)
        policy, good = reply_logprobs(model, batch), batch.good.to(model.device)
        reference = self.reference.logprobs(model, batch, torch.zeros(len(batch.ids), dtype=torch.long))
        weights = {"desirable": preference.good_weight, "undesirable": 1.0}
        losses, rewards = kto_loss(policy, reference, good, drift, preference.beta, **weights)
        if preference.nll:
            lengths = (batch.targets != IGNORE).sum(1).to(policy.device)
            losses = losses - preference.nll * good * policy / lengths
        side = (rewards - preference.beta * drift).sign() * torch.where(good, 1, -1)
        logprobs = policy.detach()
        figures = {
            "chosen_reward": rewards[good],
            "rejected_reward": rewards[~good],
            "accuracy": (side + 1) / 2,  # a good reply is above the drift, a bad one below
            "drift": drift.expand(len(losses)),
            "chosen_logprob": logprobs[good],
            "rejected_logprob": logprobs[~good],
        }
        return Term(losses.sum(), len(losses), batch.ids.numel(), figures, batch.trained)

    @torch.no_grad()
    def _drift(self, model: Transformer, others: Batch) -> Tensor:
        reference = self.reference.logprobs(model, others, torch.ones(len(others.ids), dtype=torch.long))
        return kto_drift(reply_logprobs(model, others), reference)


def term_of(preference: Preference, reference: PreferenceReference | None) -> PairTerm | RatingTerm:
    """Return the selected loss, with its reference if it needs one."""
    assert reference is not None or preference.loss not in WITH_REFERENCE
    if preference.loss == "kto" and reference is not None:
        return RatingTerm(preference, reference)
    return PairTerm(preference, reference)


def both_sides(batch: Batch) -> tuple[Batch, Batch]:
    """Return the two sides of a batch, in the order of the columns of a `Cached` reference."""
    if isinstance(batch, RatingBatch):
        return batch, batch.others
    assert isinstance(batch, PairBatch)
    chosen, rejected = (Batch(*side) for side in zip(*(x.chunk(2) for x in vars(batch).values()), strict=True))
    return chosen, rejected
