"""The result of a task, and the mean of a suite: estimates over the answers, with what was cut, merged or equal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sayso.judge.statistics.clusters import mean_of_items
from sayso.judge.statistics.estimate import Estimate, estimate, mean_of
from sayso.judge.tasks.item import NumberedItem, has_equal_options
from sayso.judge.tasks.kept import Answer
from sayso.judge.tasks.task import Task


@dataclass(frozen=True)
class TaskResult:
    """What a model reached in a task."""

    task: Task
    scores: Mapping[str, Estimate]
    """Mean of each score by name; those from 0 to 1 have Wilson's interval."""
    items: int
    cut: int
    """Number of items whose context was too long and lost its beginning."""
    merged: int
    """Number of items with a token across the border between context and continuation."""
    equal: int
    """Number of items with two options that are the same text."""
    unseen: Estimate | None = None
    """The main score over the items that are not in the training text; None if that was not searched."""

    @property
    def main(self) -> Estimate:
        """The estimate of the task's metric."""
        return self.scores[self.task.metric]

    def centered(self, *, older: bool = False) -> float:
        """Return (score - baseline) / (1 - baseline), with the task's baseline or that of earlier publications."""
        baseline = self.task.chance(older=older)
        return (self.main.mean - baseline) / (1 - baseline)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "metric": self.task.metric,
            "baseline": self.task.baseline,
            "scores": {name: value.as_dict() for name, value in self.scores.items()},
            "centered": self.centered(),
            "centered_older": self.centered(older=True),
            **{name: getattr(self, name) for name in ("items", "cut", "merged", "equal")},
            "unseen": self.unseen.as_dict() if self.unseen else None,
        }


def result_of(
    task: Task,
    items: Sequence[NumberedItem],
    asked: Sequence[int],
    answers: Sequence[Answer],
    seen: Sequence[bool] | None = None,
) -> TaskResult:
    """Return the result of the items numbered `asked`, given their answers in the same order.

    `seen` is whether each is in the training text, if that was searched.
    """
    names = list(answers[0].scores) if answers else []
    scores = {
        name: _mean(answers, [answer.scores[name] for answer in answers], math.inf if name == "bits_per_byte" else 1.0)
        for name in names
    }
    unseen = None if seen is None else [one for one, known in zip(answers, seen, strict=True) if not known]
    return TaskResult(
        task,
        scores,
        len(answers),
        sum(answer.cut > 0 for answer in answers),
        sum(answer.merged for answer in answers),
        sum(has_equal_options(items[number].item) for number in asked),
        None if unseen is None else _mean(unseen, [answer.right for answer in unseen]),
    )


def _mean(answers: Sequence[Answer], values: Sequence[float], high: float = 1.0) -> Estimate:
    """Return the mean of values, one for each answer, with an error by passage where several items share one.

    All scores are from 0 to 1 but bits per byte, which have no upper end.
    """
    return mean_of_items(values, [answer.unit for answer in answers], 0.0, high)


def blimp_mean(results: Sequence[TaskResult]) -> Estimate:
    """Return the mean over BLiMP's paradigms, whose interval treats paradigms as the sampled unit.

    The pairs of a paradigm are filled into one template, so that they are right or wrong together.
    """
    return estimate([found.main.mean for found in results], low=0, high=1)


def core_mean(results: Sequence[TaskResult], *, older: bool = False) -> Estimate:
    """Return the mean of the centered scores, with the error that the choice of items causes."""
    parts = []
    for found in results:
        guess, main = found.task.chance(older=older), found.main
        mean, low, high = ((end - guess) / (1 - guess) for end in (main.mean, main.low, main.high))
        parts.append(Estimate(mean, main.se / (1 - guess), main.n, low, high))
    return mean_of(parts)
