"""Preference losses as a `Term`: computes the loss and figures of a batch under the policy and its reference.

Figures, one value per pair or rating: the implicit rewards of chosen and rejected replies, their log-probabilities, the
margin between the rewards, and whether it is positive.
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
    """Weight of the chosen reply's loss per token, which keeps its likelihood from falling (RPO, Pang et al. 2024)."""
    margin: float = 0.0
    """SimPO's gamma."""
    smoothing: float = 0.0
    """DPO's label smoothing: the assumed share of pairs with swapped labels."""
    robust: bool = False
    average: bool = False
    """Whether IPO averages over tokens instead of summing."""
    good_weight: float = 1.0
    """KTO's weight of a good rating; a bad one has 1."""


@dataclass(frozen=True)
class PairTerm:
    """Loss of pairs; called with a model and a batch."""

    preference: Preference
    reference: PreferenceReference | None
    """None for a loss that does not need a reference."""

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the summed loss of a batch of pairs, how many there are, the tokens seen, and the figures."""
        policy = reply_logprobs(model, batch)
        lengths = (batch.targets != IGNORE).sum(1).to(policy.device)
        losses, rewards = self._judged(model, batch, policy, lengths)
        average = (policy / lengths).chunk(2)[0]
        if self.preference.nll:
            losses = losses - self.preference.nll * average
        (chosen, rejected), (likely, unlikely) = rewards.chunk(2), policy.detach().chunk(2)
        margin = chosen - rejected
        figures = {
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "margin": margin,
            "accuracy": (margin.sign() + 1) / 2,  # a tie is half right
            "chosen_logprob": likely,
            "rejected_logprob": unlikely,
        }
        return Term(losses.sum(), len(losses), batch.ids.numel(), figures, batch.trained)

    def _judged(self, model: Transformer, batch: Batch, policy: Tensor, lengths: Tensor) -> PreferenceLoss:
        asked = self.preference
        if asked.loss == "orpo":
            return orpo_loss(policy, lengths, asked.beta)
        if asked.loss == "simpo":
            return simpo_loss(policy, lengths, asked.beta, asked.margin)
        assert self.reference is not None
        before = self.reference.logprobs(model, batch, _sides(len(batch.ids)))
        if asked.loss == "ipo":
            return ipo_loss(policy, before, asked.beta, lengths if asked.average else None)
        return dpo_loss(policy, before, asked.beta, asked.smoothing, robust=asked.robust)


@dataclass(frozen=True)
class RatingTerm:
    """Loss of single ratings (KTO); called with a model and a batch."""

    preference: Preference
    reference: PreferenceReference

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the summed loss of a batch of ratings, how many there are, the tokens seen, and the figures."""
        assert isinstance(batch, RatingBatch)
        asked, drift = self.preference, self._drift(model, batch.others)
        policy, good = reply_logprobs(model, batch), batch.good.to(model.device)
        before = self.reference.logprobs(model, batch, torch.zeros(len(batch.ids), dtype=torch.long))
        weights = {"desirable": asked.good_weight, "undesirable": 1.0}
        losses, rewards = kto_loss(policy, before, good, drift, asked.beta, **weights)
        if asked.nll:
            lengths = (batch.targets != IGNORE).sum(1).to(policy.device)
            losses = losses - asked.nll * good * policy / lengths
        side = (rewards - asked.beta * drift).sign() * torch.where(good, 1, -1)
        likely = policy.detach()
        figures = {
            "chosen_reward": rewards[good],
            "rejected_reward": rewards[~good],
            "accuracy": (side + 1) / 2,  # liked above the drift, disliked below it
            "drift": drift.expand(len(losses)),
            "chosen_logprob": likely[good],
            "rejected_logprob": likely[~good],
        }
        return Term(losses.sum(), len(losses), batch.ids.numel(), figures, batch.trained)

    @torch.no_grad()
    def _drift(self, model: Transformer, others: Batch) -> Tensor:
        before = self.reference.logprobs(model, others, torch.ones(len(others.ids), dtype=torch.long))
        return kto_drift(reply_logprobs(model, others), before)


def term_of(preference: Preference, reference: PreferenceReference | None) -> PairTerm | RatingTerm:
    """Return the selected loss; asserts that it has a reference if it needs one."""
    assert reference is not None or preference.loss not in WITH_REFERENCE
    if preference.loss == "kto" and reference is not None:
        return RatingTerm(preference, reference)
    return PairTerm(preference, reference)


def both_sides(batch: Batch) -> tuple[Batch, Batch]:
    """Return a batch's two sides, as a `Cached` reference numbers them."""
    if isinstance(batch, RatingBatch):
        return batch, batch.others
    assert isinstance(batch, PairBatch)
    chosen, rejected = (Batch(*side) for side in zip(*(x.chunk(2) for x in vars(batch).values()), strict=True))
    return chosen, rejected


def _sides(rows: int) -> Tensor:
    return torch.arange(2).repeat_interleave(rows // 2)
