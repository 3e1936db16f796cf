"""Scores of a model on small-world tasks, with a standard error for each family of tasks.

Takes any callable from conversations to replies, such as a model or a client of a server. Tasks depend only on seed and
index, so two models answer exactly the same questions and can be compared in pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sayso import world
from sayso.judge.statistics.estimate import Estimate, estimate, mean_of
from sayso.text.document import Messages


@dataclass(frozen=True)
class TaskAnswer:
    """A model's answer to one task."""

    family: str
    index: int
    messages: Messages
    reply: str
    reference: str
    """A correct reply."""
    score: float
    """From 0 to 1."""
    reasons: tuple[str, ...]
    """The checker's reasons for the score."""


@dataclass(frozen=True)
class WorldScores:
    """All answers of a model, in order."""

    answers: tuple[TaskAnswer, ...]

    def values(self, family: str) -> list[float]:
        """Return the scores of a family, by index."""
        return [answer.score for answer in self.answers if answer.family == family]

    def families(self) -> dict[str, Estimate]:
        """Return the mean score of each family."""
        return {f: estimate(self.values(f), low=0, high=1) for f in dict.fromkeys(a.family for a in self.answers)}

    def mean(self, families: Sequence[str]) -> Estimate:
        """Return the mean over those of `families` that have answers, with equal weights."""
        found = self.families()
        return mean_of([found[family] for family in families if family in found])


def judge_world(
    replies: Callable[[list[Messages]], list[str]],
    *,
    families: Sequence[str] = world.FAMILIES,
    n: int = 60,
    seed: int = 0,
    split: str = "test",
) -> WorldScores:
    """Score the replies to `n` tasks of each family; `replies` is called once with all of them, to allow batching."""
    tasks = [(family, index, world.task(seed, index, split, family)) for family in families for index in range(n)]
    prompts: list[Messages] = [[dict(message) for message in task.prompt.messages] for _, _, task in tasks]
    answers = []
    for (family, index, task), messages, reply in zip(tasks, prompts, replies(prompts), strict=True):
        score = world.score_reply(task.prompt, reply)
        answers.append(TaskAnswer(family, index, messages, reply, task.reply, score.value, score.reasons))
    return WorldScores(tuple(answers))
