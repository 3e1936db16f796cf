"""Evaluates a reward model on held-out prompts, during training and at the end.

During training: loss and accuracy. At the end: accuracy relative to that of length alone, calibration, and preference
for a reply over degraded versions of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sayso.align.pairs.reward_data import Question, best_reply, spoiled
from sayso.align.scorer import scores_of
from sayso.base.log import say
from sayso.batch.judged import JudgedPrompt, collate
from sayso.judge.reward import RewardKnowledge, agreement, length_sign, lengths, reward_knowledge
from sayso.judge.statistics.agreement import of_comparisons
from sayso.judge.statistics.estimate import Estimate, Floats
from sayso.loss.reward import RewardLoss, batch_losses
from sayso.model import Transformer
from sayso.token.chat import reply_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.loop import State
from sayso.train.step_log import Evaluation

_JUDGEMENTS = 5  # evaluations per run, after the first
_BEST = "-held_out_loss"


@dataclass(frozen=True)
class RewardEval:
    """Evaluation of one reward model."""

    held: Sequence[tuple[Question, JudgedPrompt]]
    """Held-out questions with their ids."""
    loss: RewardLoss
    sign: int
    """Whether longer (1) or shorter (-1) replies were better in the training data."""
    rows: int
    """Prompts scored at once."""

    def schedule(self, steps: int) -> Evaluation | None:
        """Return the evaluation of a run of `steps` steps; None if nothing is held out."""
        return Evaluation(self.judge, max(1, steps // _JUDGEMENTS), _BEST) if self.held else None

    def judge(self, state: State) -> dict[str, Any]:
        """Return the metrics of a state."""
        scores, judged = self.scores(state.model), self.judged
        total = 0.0
        for first in range(0, len(judged), self.rows):
            batch = collate(judged[first : first + self.rows])
            own = torch.from_numpy(np.concatenate(scores[first : first + self.rows])).float()
            total += float(batch_losses(own, batch, self.loss))
        by_length = [self.sign * own for own in lengths(judged)]
        return {
            "held_out_loss": total / len(judged),
            "held_out_accuracy": agreement(judged, scores, self.groups).value,
            "length_accuracy": agreement(judged, by_length, self.groups).value,
        }

    @property
    def judged(self) -> list[JudgedPrompt]:
        """Ids of each question."""
        return [judged for _, judged in self.held]

    @property
    def groups(self) -> list[str]:
        """Conversation of each question."""
        return [one.group for one, _ in self.held]

    def scores(self, model: Transformer) -> list[Floats]:
        """Return the model's scores of the replies to each question."""
        return scores_of_all(model, self.judged)

    def final(self, model: Transformer) -> RewardKnowledge:
        """Return the final evaluation of a model, whose scores must not be normalized yet."""
        return reward_knowledge(self.judged, self.scores(model), self.groups, self.sign)

    def spoiled(self, model: Transformer, tokenizer: Tokenizer) -> dict[str, Estimate]:
        """Return how often the best reply has a higher score than each degraded version of it."""
        kinds: dict[str, list[tuple[str, JudgedPrompt]]] = {}
        for one, judged in self.held:
            best = best_reply(one)
            for kind, text in spoiled(one.replies[best]).items():
                pair = JudgedPrompt(judged.prompt, [judged.replies[best], reply_ids(tokenizer, text)])
                if pair.longest <= model.config.context:
                    kinds.setdefault(kind, []).append((one.group, pair))
        found = {}
        for kind, rows in kinds.items():
            differences = [own[0] - own[1] for own in scores_of_all(model, [pair for _, pair in rows])]
            found[kind] = of_comparisons(differences, [group for group, _ in rows]).estimate()
        return found


def reward_eval(
    train: Sequence[tuple[Question, JudgedPrompt]],
    held: Sequence[tuple[Question, JudgedPrompt]],
    loss: RewardLoss,
    rows: int,
) -> RewardEval:
    """Return the evaluation on the held-out questions, with the length baseline of the training data."""
    return RewardEval(held, loss, length_sign([judged for _, judged in train]), rows)


def scores_of_all(model: Transformer, judged: Sequence[JudgedPrompt]) -> list[Floats]:
    """Return a model's scores of the replies to each prompt."""
    flat = scores_of(model, [(one.prompt, reply) for one in judged for reply in one.replies])
    return np.split(flat, np.cumsum([len(one.replies) for one in judged])[:-1])


def report_reward(name: str, found: RewardKnowledge, adversarial: dict[str, Estimate]) -> list[str]:
    """Print the evaluation of a reward model; return its warnings."""
    say(f"Accuracy of '{name}' on {found.accuracy.n:,} held-out judgments: {_share(found.accuracy)}.")
    say(f"Accuracy of length alone: {_share(found.length_accuracy)}; correlation {found.length_correlation:.2f}.")
    if found.bins:
        say(f"Calibration error: {found.calibration_error:.1%}.")
    if adversarial:
        parts = (f"{kind} {_share(one)}" for kind, one in adversarial.items())
        say(f"Prefers the original reply to a degraded one: {', '.join(parts)}.")
    warnings = [*_weak(found), *(_blind(kind, one) for kind, one in adversarial.items() if one.mean < 0.5)]
    for warning in warnings:
        say(f"Warning: {warning}")
    return warnings


def as_json(found: RewardKnowledge, adversarial: dict[str, Estimate]) -> dict[str, Any]:
    """Return the full evaluation, ready for JSON."""
    return found.as_dict() | {"spoiled": {kind: one.as_dict() for kind, one in adversarial.items()}}


def loss_of(tie_width: float, centre: float, items: Sequence[Question]) -> tuple[RewardLoss, dict[str, float]]:
    """Return the loss for the data, and the mean and standard deviation by which ratings are normalized.

    The tie width is 0 if there are no ties; binary ratings, 1 and 0, are not normalized.
    """
    ties = any(each.tie for one in items for each in one.comparisons)
    ratings = [rating for one in items for several in one.ratings.values() for rating in several]
    width = tie_width if ties else 0.0
    if all(rating in (0.0, 1.0) for rating in ratings):
        return RewardLoss(width, centre, "binary"), {"mean": 0.0, "std": 1.0}
    scale = {"mean": float(np.mean(ratings)), "std": float(np.std(ratings)) or 1.0}
    return RewardLoss(width, centre, "squared"), scale


def _weak(found: RewardKnowledge) -> list[str]:
    if not found.accuracy.low > 0.5:
        return ["it is not significantly better than chance: provide more comparisons, or raise --epochs or --rate."]
    if not found.above_length.low > 0:
        return [
            "it is not significantly better than length alone, so a policy trained on it will learn length: balance "
            "the lengths of chosen and rejected replies, or provide more comparisons."
        ]
    return []


def _blind(kind: str, one: Estimate) -> str:
    return (
        f"it prefers the {kind} reply in {1 - one.mean:.0%} of cases: add such comparisons to its training (--spoil)."
    )


def _share(one: Estimate) -> str:
    return f"{one.mean:.1%}" + ("" if math.isnan(one.low) else f" ({one.low:.1%} to {one.high:.1%})")
