"""Score the items of a task by log-probabilities, a few at a time, so that an interrupted evaluation resumes.

Takes a scorer, a task and its items; returns an answer for each: which option the model prefers by each rule, whether
it is right, and the bits per byte of the right one, which tells small models apart where accuracy is at chance.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, Scorer
from sayso.judge.tasks.item import Choices, Item, NumberedItem, Schema
from sayso.judge.tasks.task import Task, groups_of, prompt_hash

_AT_ONCE = 64  # items scored between two writes


@dataclass(frozen=True)
class Answer:
    """The answer to one item."""

    item: str
    cluster: str
    prompt: str
    """Hash of what was asked, see `prompt_hash`."""
    right: float
    """The score by the task's metric."""
    scores: Mapping[str, float]
    """By name, such as acc, acc_norm and acc_token of options: 1 if right, else 0; and bits_per_byte."""
    logprobs: tuple[float, ...]
    """Log-probability of each option; none of a generated answer."""
    choice: int
    """The preferred option by the task's metric; without options, 0 if right, else -1."""
    cut: int
    """Tokens cut from the beginning of its longest context."""
    merged: bool
    """Whether a token crosses the border between a context and its continuation."""
    text: str = ""
    """The answer, if it was generated."""


class Memory(Protocol):
    """Answers of one model to one task that outlast the process."""

    def known(self, item: str, prompt: str) -> Answer | None:
        """Return the earlier answer to an item, asked by a prompt with this hash; None if there is none."""

    def keep(self, answers: Sequence[Answer]) -> None:
        """Store new answers."""


def answer_items(
    scorer: Scorer,
    task: Task,
    items: Sequence[NumberedItem],
    asked: Sequence[int],
    memory: Memory | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Return the answers to the items numbered `asked`.

    Those in memory are not asked for again; new ones are kept some at a time. `progress` receives the number of items
    done each time.
    """
    found: dict[int, Answer] = {}
    waiting: list[tuple[int, list[Continuation], str]] = []
    for number in asked:
        group = groups_of(task, items, number)
        mark = prompt_hash([[one.context, one.text] for one in group], task)
        earlier = memory.known(items[number].name, mark) if memory else None
        if earlier is None:
            waiting.append((number, group, mark))
        else:
            found[number] = earlier
    progress(len(found))
    for start in range(0, len(waiting), _AT_ONCE):
        part = waiting[start : start + _AT_ONCE]
        scores = scorer.score([group for _, group, _ in part])
        new = {
            number: answer_of(task, items[number], mark, group, own)
            for (number, group, mark), own in zip(part, scores, strict=True)
        }
        if memory:
            memory.keep(list(new.values()))
        found |= new
        progress(len(new))
    return [found[number] for number in asked]


def answer_of(
    task: Task, item: NumberedItem, mark: str, group: Sequence[Continuation], scores: Sequence[ContinuationScore]
) -> Answer:
    """Return the answer that the scores of an item's options amount to."""
    values, choice = _values(task, item.item, group, scores)
    return Answer(
        item.name,
        item.cluster,
        mark,
        values[task.metric],
        values,
        tuple(score.logprob for score in scores),
        choice,
        max(score.cut for score in scores),
        any(score.merged for score in scores),
    )


def _values(
    task: Task, item: Item, group: Sequence[Continuation], scores: Sequence[ContinuationScore]
) -> tuple[dict[str, float], int]:
    """Return the scores by name, and the preferred option."""
    sizes = [len(one.text.encode("utf-8", "surrogatepass")) for one in group]
    logprobs = [score.logprob for score in scores]
    if not isinstance(item, Choices | Schema):
        exact = float(scores[0].greedy)
        return {"exact": exact, "bits_per_byte": _bits(logprobs[0], sizes[0])}, 0 if exact else -1
    best = {
        "acc": _largest(logprobs),
        "acc_norm": _largest([value / size for value, size in zip(logprobs, sizes, strict=True)]),
        "acc_token": _largest([score.logprob / score.tokens for score in scores]),
    }
    values = {name: float(choice == item.gold) for name, choice in best.items()}
    values["bits_per_byte"] = _bits(logprobs[item.gold], sizes[item.gold])
    return values, best.get(task.metric, best["acc"])


def _largest(values: Sequence[float]) -> int:
    """Return the index of the largest value, the first of equal ones."""
    return max(range(len(values)), key=values.__getitem__)


def _bits(logprob: float, size: int) -> float:
    return -logprob / math.log(2) / size
