"""Score the items of a task by log-probabilities, a few at a time, so that an interrupted evaluation resumes.

Takes a scorer, a task and its items; returns an answer for each: which option the model prefers by each rule, whether
it is right, and the bits per byte of the right one, which tells small models apart where accuracy is at chance.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from sayso.base.errors import UserError
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, Scorer
from sayso.judge.tasks.item import Choices, Item, NumberedItem, Schema, right_of
from sayso.judge.tasks.kept import Answer, Asked, Memory, answer_new
from sayso.judge.tasks.task import Task, groups_of, prompt_hash

_AT_ONCE = 64  # items scored between two writes


def answer_items(
    scorer: Scorer,
    task: Task,
    items: Sequence[NumberedItem],
    asked: Sequence[int],
    memory: Memory | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Return the answers to the items numbered `asked`.

    Those in memory are not asked for again; new ones are kept a few at a time. `progress` receives the number of items
    done each time. Raises `UserError` for an item that the task's metric cannot score.
    """
    groups = [groups_of(task, items, number) for number in asked]
    for number in asked:
        _check_metric(task, items[number].item)
    marks = [
        prompt_hash([[[one.context, one.text] for one in group], right_of(items[number].item)], task)
        for number, group in zip(asked, groups, strict=True)
    ]

    def answer(places: list[int]) -> Iterator[Answer]:
        scores = scorer.score([groups[place] for place in places])
        for place, own in zip(places, scores, strict=True):
            yield answer_of(task, items[asked[place]], marks[place], groups[place], own)

    named = [Asked(items[number].name, mark) for number, mark in zip(asked, marks, strict=True)]
    return answer_new(named, answer, _AT_ONCE, memory, progress)


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


def _check_metric(task: Task, item: Item) -> None:
    options = isinstance(item, Choices | Schema)
    if options == (task.metric == "exact"):
        fit = "acc, acc_norm or acc_token" if options else "exact"
        rows = "rows with options" if options else "rows with a single continuation"
        raise UserError(f"The metric for {rows} must be {fit}; that of '{task.name}' is {task.metric}: set metric.")


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
