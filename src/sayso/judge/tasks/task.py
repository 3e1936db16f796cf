"""A task: items from a file, and how they are asked and scored.

Prompts are built as DCLM builds them: worked examples from the same file, then the item, joined by `separator`; an
answer follows its question after `delimiter`. The examples of an item are drawn by its own number, so that they do not
depend on which other items are asked.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from sayso.base.errors import UserError
from sayso.judge.likelihood.continuations import Continuation
from sayso.judge.tasks.item import (
    Choices,
    Completion,
    Instructed,
    Item,
    NumberedItem,
    Programming,
    Question,
    Schema,
)

Metric = Literal[
    "acc",
    "acc_norm",
    "acc_token",
    "exact",
    "exact_match",
    "f1",
    "number",
    "number_strict",
    "ifeval",
    "ifeval_loose",
    "pass_at_1",
]
Behaviour = Literal["complied", "refused", "kept", "no_loop", "same_language"]
"""The main scores of how a model behaves, see `judge/behaviour/`; no task of a file has them."""
GENERATED = frozenset({"exact_match", "f1", "number", "number_strict", "ifeval", "ifeval_loose", "pass_at_1"})
"""The metrics of generated answers; the others are of log-probabilities."""
_EXAMPLES_SEED = 1234


@dataclass(frozen=True)
class Task:
    """A task of a suite; everything but the name and the file is part of the hash of its prompts."""

    name: str
    file: str
    """Name of its file, which is looked up below the data folder."""
    shots: int = 0
    """Number of worked examples before an item."""
    delimiter: str = " "
    """Text between a question and its answer."""
    separator: str = "\n"
    """Text between examples."""
    metric: Metric | Behaviour = "acc"
    """The main score: acc (sum of log-probabilities), acc_norm (by byte), acc_token (by token) or exact (each token is
    the likeliest); or, of a generated answer, exact_match, f1, number, number_strict, ifeval, ifeval_loose or
    pass_at_1 (the program passes its tests)."""
    baseline: float = 0.0
    """Score of a guess, for the centered score (score - baseline) / (1 - baseline)."""
    chat: bool = False
    """Whether a generated answer is the reply to the prompt as a message, or the rest of its line as plain text."""
    max_tokens: int = 64
    """Maximum number of tokens of a generated answer."""
    older_baseline: float | None = None
    """The baseline of earlier publications, if another."""

    def chance(self, *, older: bool = False) -> float:
        """Return the baseline, or that of earlier publications if there is another."""
        return self.older_baseline if older and self.older_baseline is not None else self.baseline


def groups_of(task: Task, items: Sequence[NumberedItem], index: int) -> list[Continuation]:
    """Return what is scored for an item: one continuation for each of its options, or a single one."""
    item = items[index].item
    if isinstance(item, Instructed | Programming):
        _shown(task, item)
    before = "".join(_shown(task, items[other].item) + task.separator for other in examples(task, len(items), index))
    if isinstance(item, Choices):
        if not item.query:
            return [Continuation(before, choice) for choice in item.choices]
        return [Continuation(before + item.query + task.delimiter, choice) for choice in item.choices]
    if isinstance(item, Schema):
        return [Continuation(before + context + task.delimiter, item.continuation) for context in item.contexts]
    if isinstance(item, Question):
        return [Continuation(before + item.prompt.rstrip() + task.delimiter, item.answers[0])]
    assert isinstance(item, Completion), "instructions and programs have been refused"
    return [Continuation(before + item.context.rstrip() + task.delimiter, item.continuation)]


def prompt_of(task: Task, items: Sequence[NumberedItem], index: int) -> str:
    """Return the prompt of an item whose answer is generated, after its worked examples."""
    item = items[index].item
    if isinstance(item, Instructed | Programming):
        return item.prompt
    before = "".join(_shown(task, items[other].item) + task.separator for other in examples(task, len(items), index))
    if not isinstance(item, Question):
        raise UserError(
            f"The metric '{task.metric}' needs rows with a prompt and an answer, or those of IFEval or HumanEval; "
            f"'{task.file}' has others. Choose another metric."
        )
    return before + item.prompt.rstrip() + task.delimiter.rstrip(" ")


def examples(task: Task, count: int, index: int) -> list[int]:
    """Return the numbers of an item's worked examples: others of the same file, drawn by the item's number.

    Raises `UserError` if the file has too few items.
    """
    if count <= task.shots:
        raise UserError(
            f"A task with {task.shots} examples needs more than {task.shots} items; '{task.file}' has {count}. "
            "Lower its shots."
        )
    drawn = random.Random(_EXAMPLES_SEED + index).sample(range(count - 1), task.shots)
    return [number + (number >= index) for number in drawn]


def _shown(task: Task, item: Item) -> str:
    """Return a worked example: an item with its right answer. Raises `UserError` for a kind that has none."""
    if isinstance(item, Choices):
        return f"{item.query}{task.delimiter}{item.choices[item.gold]}" if item.query else item.choices[item.gold]
    if isinstance(item, Schema):
        return f"{item.contexts[item.gold]}{task.delimiter}{item.continuation}"
    if isinstance(item, Question):
        return f"{item.prompt.rstrip()}{task.delimiter}{item.answers[0]}"
    if isinstance(item, Instructed):
        raise UserError(
            f"IFEval's prompts have no answers; the metric of '{task.name}' must be ifeval or ifeval_loose."
        )
    if isinstance(item, Programming):
        raise UserError(
            f"HumanEval's programs are run with their tests; the metric of '{task.name}' must be pass_at_1."
        )
    return f"{item.context.rstrip()}{task.delimiter}{item.continuation}"


def prompt_hash(asked: object, task: Task) -> str:
    """Return a hash of what is asked for one item and what is right, as JSON-ready data, and of how it is scored."""
    rule = {name: value for name, value in asdict(task).items() if name not in ("name", "file")}
    content = [asked, rule]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def chosen(count: int, limit: int) -> list[int]:
    """Return the numbers of `limit` items, the same for every model; all of them if `limit` is 0 or too large."""
    return sorted(random.Random(0).sample(range(count), limit)) if 0 < limit < count else list(range(count))


def with_shots(task: Task, shots: int | None) -> Task:
    """Return the task with another number of examples, if one is given."""
    return task if shots is None else replace(task, shots=shots)
