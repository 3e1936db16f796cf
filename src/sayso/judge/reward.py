"""Evaluation of a reward model on held-out replies, with the length of replies as the baseline.

Takes labeled prompts with a score for every reply; returns the accuracy on comparisons or ratings, that of the
baseline, the calibration of predicted probabilities, and the correlation of scores and length. The baseline predicts
that the longer reply is better, or the shorter one, whichever is more frequent in the training prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sayso.batch.judged import JudgedPrompt
from sayso.judge.statistics.agreement import (
    Agreement,
    Bin,
    calibration_error,
    correlation,
    of_comparisons,
    of_ratings,
    reliability,
)
from sayso.judge.statistics.estimate import Estimate, Floats

_Scores = Sequence[Floats]  # per prompt, one score per reply


@dataclass(frozen=True)
class RewardKnowledge:
    """Metrics of the scores of evaluated replies."""

    accuracy: Estimate
    """Fraction of correct comparisons, or of pairs with different ratings; ties do not count."""
    length_accuracy: Estimate
    """Accuracy of the length baseline."""
    above_length: Estimate
    """Difference of the two accuracies."""
    length_correlation: float
    """Correlation of scores with the number of tokens."""
    bins: list[Bin]
    """Predicted probabilities and outcomes of comparisons or of good ratings; empty for other ratings."""
    calibration_error: float
    """Expected calibration error of the bins."""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with null for NaN."""
        estimates = {name: getattr(self, name).as_dict() for name in ("accuracy", "length_accuracy", "above_length")}
        numbers = {name: getattr(self, name) for name in ("length_correlation", "calibration_error")}
        numbers = {name: None if math.isnan(value) else value for name, value in numbers.items()}
        return estimates | numbers | {"bins": [*map(asdict, self.bins)]}


def lengths(judged: Sequence[JudgedPrompt]) -> _Scores:
    """Return the number of tokens of each reply of each prompt."""
    return [np.array([len(reply) for reply in one.replies], np.float64) for one in judged]


def length_sign(judged: Sequence[JudgedPrompt]) -> int:
    """Return 1 if longer replies are better more often than not, else -1."""
    found = agreement(judged, lengths(judged), range(len(judged)))
    return 1 if found.value >= 0.5 else -1


def agreement(judged: Sequence[JudgedPrompt], scores: _Scores, groups: Sequence[object]) -> Agreement:
    """Return the agreement of scores with comparisons or, without any, ratings; `groups` has one entry per prompt."""
    pairs = [
        (float(own[each.better] - own[each.worse]), group)
        for one, own, group in zip(judged, scores, groups, strict=True)
        for each in one.comparisons
        if not each.tie
    ]
    if pairs:
        return of_comparisons(*_columns(pairs))
    rows = _rated(judged, scores, groups)
    return of_ratings(*_columns(rows)) if rows else Agreement(math.nan, np.zeros(0), 0)


def reward_knowledge(
    judged: Sequence[JudgedPrompt], scores: _Scores, groups: Sequence[object], sign: int
) -> RewardKnowledge:
    """Return the metrics on labeled prompts; `sign` is the `length_sign` of the training prompts."""
    by_score = agreement(judged, scores, groups)
    by_length = agreement(judged, [sign * own for own in lengths(judged)], groups)
    bins = reliability(*_probabilities(judged, scores))
    return RewardKnowledge(
        by_score.estimate(),
        by_length.estimate(),
        by_score.above(by_length),
        correlation(np.concatenate(scores), np.concatenate(lengths(judged))) if judged else math.nan,
        bins,
        calibration_error(bins),
    )


def _probabilities(judged: Sequence[JudgedPrompt], scores: _Scores) -> tuple[Floats, Floats]:
    """Return the probability of the likelier outcome of comparisons, or of a good rating, and the outcomes."""
    differences = [
        own[each.better] - own[each.worse]
        for one, own in zip(judged, scores, strict=True)
        for each in one.comparisons
        if not each.tie
    ]
    if differences:
        data = np.array(differences)
        return _sigmoid(np.abs(data)), np.sign(data) / 2 + 0.5
    rows = _rated(judged, scores, range(len(judged)))
    score, rating = (np.array([row[i] for row in rows], np.float64) for i in (0, 1))
    if not ((rating >= 0) & (rating <= 1)).all():  # not probabilities of being good
        return np.zeros(0), np.zeros(0)
    return _sigmoid(score), rating


def _rated(
    judged: Sequence[JudgedPrompt], scores: _Scores, groups: Sequence[object]
) -> list[tuple[float, float, object]]:
    return [
        (float(score), rating, group)
        for one, own, group in zip(judged, scores, groups, strict=True)
        for score, rating in zip(own, one.ratings, strict=False)
        if rating is not None
    ]


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
