"""The items of a task: one row each, of one of six kinds.

A row is checked as it is read: an error names the file and the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sayso.base.errors import UserError
from sayso.base.json_words import json_shown
from sayso.judge.answers.code import COLUMNS, CodeProblem
from sayso.judge.answers.ifeval import check_row


@dataclass(frozen=True)
class Choices:
    """A question with several answers, of which one is right: the model should prefer it."""

    query: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Schema:
    """Several contexts for one continuation, as in Winograd schemas: the right context makes it most likely."""

    contexts: tuple[str, ...]
    continuation: str
    gold: int


@dataclass(frozen=True)
class Completion:
    """A context and the only right continuation: each of its tokens must be the likeliest one."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Question:
    """A prompt whose answer is generated and compared with the right ones."""

    prompt: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Instructed:
    """A prompt with instructions that a program can check, a row of IFEval."""

    prompt: str
    row: Mapping[str, Any]
    """The row as it is published, with `instruction_id_list` and `kwargs`."""


@dataclass(frozen=True)
class Programming:
    """The beginning of a function, whose rest is generated and run with its tests, a row of HumanEval."""

    prompt: str
    problem: CodeProblem


Item = Choices | Schema | Completion | Question | Instructed | Programming


def has_equal_options(item: Item) -> bool:
    """Whether two options are the same text; no score can prefer one of them."""
    options = item.choices if isinstance(item, Choices) else item.contexts if isinstance(item, Schema) else ()
    return len({*options}) < len(options)


def right_of(item: Item) -> object:
    """Return what decides whether an answer to an item is right, as JSON-ready data."""
    if isinstance(item, Choices | Schema):
        return item.gold
    if isinstance(item, Instructed):
        return [item.row["instruction_id_list"], item.row["kwargs"]]
    if isinstance(item, Programming):
        return [item.problem.test, item.problem.entry_point]
    return list(item.answers) if isinstance(item, Question) else item.continuation


@dataclass(frozen=True)
class NumberedItem:
    """An item with its place, and the passage that it shares with others."""

    item: Item
    name: str
    """Identifies the item in its task: the number of its row from 0, or a name from the data."""
    cluster: str = ""
    """Identifies a passage that several items ask about; empty if the item is independent of all others."""


def item_of(row: Mapping[str, Any]) -> Item:
    """Return the item of a row of a JSON Lines file.

    Raises `UserError`, without the place of the row, which the caller adds.
    """
    if "choices" in row:
        choices = _texts(row, "choices")
        return Choices(_text(row, "query"), choices, _gold(row, len(choices)))
    if "context_options" in row:
        contexts = _texts(row, "context_options")
        return Schema(contexts, _text(row, "continuation"), _gold(row, len(contexts)))
    if "continuation" in row:
        return Completion(_text(row, "context"), _text(row, "continuation"))
    if "sentence_good" in row:  # BLiMP: the choices of an empty query
        return Choices("", (_text(row, "sentence_good"), _text(row, "sentence_bad")), 0)
    if "instruction_id_list" in row:
        check_row(row)
        return Instructed(_text(row, "prompt"), dict(row))
    if "entry_point" in row:
        return Programming(_text(row, "prompt"), CodeProblem.from_row({name: _text(row, name) for name in COLUMNS}))
    if "answer" in row or "answers" in row:
        prompt = _text(row, next((name for name in ("prompt", "context", "question") if name in row), "prompt"))
        aliases = row.get("aliases") or row.get("answers") or ()
        answers = dict.fromkeys([*([_text(row, "answer")] if "answer" in row else []), *map(str, aliases)])
        if not answers:
            raise UserError('"answers" must have at least one answer; got none.')
        return Question(prompt, tuple(answers))
    raise UserError(
        "A row of a task must have choices and gold, context_options and gold, context and continuation, sentence_good "
        f"and sentence_bad, or a prompt and an answer; got {', '.join(sorted(row)) or 'an empty object'}."
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'"{name}" must be a text that is not empty; got {json_shown(value)}.')
    return value


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = row[name]
    if not isinstance(values, list) or len(values) < 2 or not all(isinstance(v, str) and v.strip() for v in values):
        raise UserError(f'"{name}" must be a list of two or more texts, none of them empty; got {json_shown(values)}.')
    return tuple(values)


def _gold(row: Mapping[str, Any], count: int) -> int:
    gold = row.get("gold")
    if gold is None:
        raise UserError(f'A row needs "gold", the index of the right one of {count} options; this one has none.')
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < count:
        raise UserError(f'"gold" must be an index from 0 to {count - 1}; got {json_shown(gold)}.')
    return gold
