"""Losses of reward models: comparisons of replies, and ratings of single replies.

    P(w beats l) = sigmoid(r_w - r_l - m - t)      Bradley and Terry 1952; m the margin (Touvron et al. 2023, Llama 2)
    P(tie)       = (e^2t - 1) P(w beats l) P(l beats w)                                     Rao and Kupper 1967

`t` is the width of a tie, 0 without ties; the three probabilities add up to 1, unlike with a soft label of 0.5. Since
only differences are learned, a small term `c (r_w + r_l)^2` keeps scores around 0 (Eisenstein et al. 2023). Ratings
have a squared error or, if good is 1 and bad is 0, the cross-entropy of sigmoid(r).
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.batch.judged import JudgedBatch
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.model.score import last_scores


@dataclass(frozen=True)
class RewardLoss:
    """Settings of the loss."""

    tie_width: float = 0.0
    """Width of a tie, t; must be positive if the data has ties."""
    centre: float = 0.01
    """Weight of the term that keeps scores around 0, c; 0 = off."""
    ratings: Literal["squared", "binary"] = "squared"
    """Loss of ratings."""


def comparison_losses(better: Tensor, worse: Tensor, margins: Tensor, ties: Tensor, tie_width: float = 0.0) -> Tensor:
    """Return -log P of the label of each pair [N], for scores [N]; margins apply unless it is a tie."""
    difference = better - worse
    won = -F.logsigmoid(difference - tie_width - margins.masked_fill(ties, 0.0))
    if not bool(ties.any()):
        return won
    assert tie_width > 0, "ties need a positive width"
    lost = -F.logsigmoid(-difference - tie_width)
    return torch.where(ties, won + lost - torch.tensor(2 * tie_width).expm1().log(), won)


def rating_losses(scores: Tensor, ratings: Tensor, kind: Literal["squared", "binary"]) -> Tensor:
    """Return the loss of each score [R] against its rating [R]."""
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(scores, ratings, reduction="none")
    return (scores - ratings).square()


def batch_losses(scores: Tensor, batch: JudgedBatch, how: RewardLoss) -> Tensor:
    """Return the summed loss of a batch, a scalar, for the scores of its replies [R].

    Each prompt has the same weight: its losses are averaged over its comparisons, and over its ratings.
    """
    total = scores.new_zeros(())
    if len(batch.pairs):
        better, worse = (scores[rows] for rows in batch.pairs.to(scores.device).unbind(1))
        margins, ties, weights = (x.to(scores.device) for x in (batch.margins, batch.ties, batch.pair_weights))
        losses = comparison_losses(better, worse, margins, ties, how.tie_width)
        total = total + (weights * (losses + how.centre * (better + worse).square())).sum()
    rated = ~batch.ratings.isnan()
    if rated.any():
        ratings, weights = (x[rated].to(scores.device) for x in (batch.ratings, batch.rating_weights))
        total = total + (weights * rating_losses(scores[rated.to(scores.device)], ratings, how.ratings)).sum()
    return total


def batch_scores(model: Transformer, batch: JudgedBatch) -> Tensor:
    """Return the score of each reply of a batch [R]."""
    scores = last_scores(model, batch.ids, batch.documents)
    return scores[batch.places.to(scores.device)]


def reward_loss(model: Transformer, batch: JudgedBatch, how: RewardLoss) -> Term:
    """Return the loss of a batch, with its number of prompts, its tokens and its metrics."""
    scores = batch_scores(model, batch)
    total, figures = batch_losses(scores, batch, how), _figures(scores, batch)
    return Term(total, len(batch.judged), batch.ids.numel(), figures, batch.trained)


@torch.no_grad()
def _figures(scores: Tensor, batch: JudgedBatch) -> dict[str, Tensor]:
    """Return metrics: all scores and, for comparisons without ties, both scores, their margin and the accuracy."""
    figures = {"score": scores.detach()}
    pairs = batch.pairs[~batch.ties].to(scores.device)
    if len(pairs):
        better, worse = (scores.detach()[rows] for rows in pairs.unbind(1))
        figures |= {"chosen": better, "rejected": worse, "margin": better - worse, "accuracy": (better > worse).float()}
    return figures
