"""Small-world tasks for any model: families of tasks -> a score with its standard error for each.

Takes any callable from conversations to replies (a model here, a client of a server elsewhere). The tasks are drawn by
seed and index, so two models that are evaluated alike answer exactly the same questions and can be compared in pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sayso import world
from sayso.judge.stats import Estimate, estimate, mean_of
from sayso.text.document import Messages


@dataclass(frozen=True)
class TaskAnswer:
    """One task as asked, its reply, and its score, 0 to 1, with the checker's reasons."""

    family: str
    index: int
    messages: Messages
    reply: str
    reference: str
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class WorldScores:
    """Every answer, in the order asked."""

    answers: tuple[TaskAnswer, ...]

    def values(self, family: str) -> list[float]:
        """The scores of a family, by index."""
        return [answer.score for answer in self.answers if answer.family == family]

    def families(self) -> dict[str, Estimate]:
        """An estimate for each family that was asked."""
        return {f: estimate(self.values(f), low=0, high=1) for f in dict.fromkeys(a.family for a in self.answers)}

    def mean(self, families: Sequence[str]) -> Estimate:
        """The mean over the asked ones of `families`, with equal weights."""
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
    """Ask `n` tasks of each family and score the replies; all are asked in one call, so that they can be batched."""
    tasks = [(family, index, world.task(seed, index, split, family)) for family in families for index in range(n)]
    asked: list[Messages] = [[dict(message) for message in task.prompt.messages] for _, _, task in tasks]
    said = replies(asked)
    assert len(said) == len(asked), f"{len(asked)} conversations were asked, {len(said)} replies came back"
    scored = [world.score_reply(task.prompt, reply) for (_, _, task), reply in zip(tasks, said, strict=True)]
    return WorldScores(
        tuple(
            TaskAnswer(family, index, messages, reply, task.reply, score.value, score.reasons)
            for (family, index, task), messages, reply, score in zip(tasks, asked, said, scored, strict=True)
        )
    )
