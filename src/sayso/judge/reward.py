"""Evaluation of a reward model on held-out replies, compared with what their length alone would predict.

Takes evaluated prompts, with a score for every reply; returns metrics: the share of correct comparisons and ratings,
the same for length, the calibration of its probabilities, and the correlation of scores and length. "Length alone"
predicts that the longer reply is better, or the shorter one, whichever was more frequent in the training prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sayso.batch.judged import JudgedPrompt
from sayso.judge.agreement import (
    Agreement,
    Bin,
    calibration_error,
    correlation,
    of_comparisons,
    of_ratings,
    reliability,
)
from sayso.judge.stats import Estimate, Floats

_Scores = Sequence[Floats]  # per prompt, one score per reply


@dataclass(frozen=True)
class RewardKnowledge:
    """Metrics of the scores of evaluated replies."""

    accuracy: Estimate
    """Share of correct comparisons; for ratings, of pairs with different ratings. Ties do not count."""
    length_accuracy: Estimate
    above_length: Estimate
    length_correlation: float
    """Correlation of scores with the number of tokens."""
    bins: list[Bin]
    """Predicted and true probabilities of comparisons or of good ratings; empty for ratings of other kinds."""
    calibration_error: float

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        said = {name: getattr(self, name).as_dict() for name in ("accuracy", "length_accuracy", "above_length")}
        rest = {name: getattr(self, name) for name in ("length_correlation", "calibration_error")}
        return said | {k: None if math.isnan(v) else v for k, v in rest.items()} | {"bins": [*map(asdict, self.bins)]}


def lengths(judged: Sequence[JudgedPrompt]) -> _Scores:
    """Return the number of tokens of each reply of each prompt."""
    return [np.array([len(reply) for reply in one.replies], np.float64) for one in judged]


def length_sign(judged: Sequence[JudgedPrompt]) -> int:
    """Return 1 if longer replies are better more often than not, else -1."""
    found = agreement(judged, lengths(judged), range(len(judged)))
    return 1 if found.value >= 0.5 else -1


def agreement(judged: Sequence[JudgedPrompt], scores: _Scores, groups: Sequence[object]) -> Agreement:
    """Return the agreement of scores with comparisons, or, without any, with ratings; `groups` are the prompts'."""
    pairs = [
        (float(own[each.better] - own[each.worse]), group)
        for one, own, group in zip(judged, scores, groups, strict=True)
        for each in one.comparisons
        if not each.tie
    ]
    if pairs:
        return of_comparisons(*_apart(pairs))
    rows = _rated(judged, scores, groups)
    return of_ratings(*_apart(rows)) if rows else Agreement(math.nan, np.zeros(0), 0)


def reward_knowledge(
    judged: Sequence[JudgedPrompt], scores: _Scores, groups: Sequence[object], sign: int
) -> RewardKnowledge:
    """Return the metrics of evaluated prompts; `sign` is the training prompts' `length_sign`."""
    told = agreement(judged, scores, groups)
    by_length = agreement(judged, [sign * own for own in lengths(judged)], groups)
    bins = reliability(*_probabilities(judged, scores))
    return RewardKnowledge(
        told.estimate(),
        by_length.estimate(),
        told.above(by_length),
        correlation(np.concatenate(scores), np.concatenate(lengths(judged))) if judged else math.nan,
        bins,
        calibration_error(bins),
    )


def _probabilities(judged: Sequence[JudgedPrompt], scores: _Scores) -> tuple[Floats, Floats]:
    """Return the probability of the likelier outcome, and whether it occurred; for good ratings, that of good."""
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
    if not ((rating >= 0) & (rating <= 1)).all():  # not shares of raters who called it good
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


def _apart(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
