"""Comparisons and ratings from files of several makers, each row checked: JSON Lines enter, rows of one form leave.

A pair is {"prompt": messages, "chosen": text, "rejected": text}, a rating {"prompt": messages, "reply": text, "good":
true or false}. Prompts and replies may also be plain strings or lists of messages (TRL's two forms, its prompt left
away where both sides begin with it, its "completion" and "label"), and pairs those that OpenAI's platform takes.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl

ROLES = ("system", "user", "assistant", "tool")
KEPT = ("source", "group", "margin", "tie")
"""What else of a row is kept: whose it is, the conversation it is part of, and by how much the chosen is better."""
Row = dict[str, Any]


class _Bad(Exception):  # noqa: N818 - becomes a sentence with file and row
    """What is wrong with a row."""


def read_pairs(path: Path, *, ties: bool = False) -> list[Row]:
    """Return the pairs of a file; with `ties`, a row may say that its replies are equally good ("tie": true).

    Raises `UserError`, with the row's number, for one that lacks a part or a role, has an empty side, or equal sides.
    """
    form = _tie if ties else _pair
    return [_checked(path, number, row, form) for number, row in enumerate(read_jsonl(path), 1)]


def read_ratings(path: Path, *, numbers: bool = False) -> list[Row]:
    """Return the ratings of a file; with `numbers`, a row may have a number as its "rating" in place of "good".

    Raises `UserError`, with the row's number, for one that lacks a part or a role, has an empty reply, or is not rated.
    """
    form = _number if numbers else _rating
    return [_checked(path, number, row, form) for number, row in enumerate(read_jsonl(path), 1)]


def holds_ratings(path: Path) -> bool:
    """Return whether the first row of a file is a rating, not a pair."""
    first: Any = next(read_jsonl(path), None)
    return isinstance(first, dict) and ("good" in first or "label" in first)


def ratings_of(pairs: Iterable[Row]) -> list[Row]:
    """Return what pairs say of each reply alone: the chosen one is good, the rejected one is not."""
    sides = (("chosen", True), ("rejected", False))
    return [
        {**_rest(pair), "prompt": pair["prompt"], "reply": pair[side], "good": good}
        for pair in pairs
        for side, good in sides
    ]


def _checked(path: Path, number: int, row: Any, form: Callable[[Row], Row]) -> Row:
    try:
        if not isinstance(row, dict):
            raise _Bad("is not a JSON object")
        return {**_rest(row), **form(row)}
    except _Bad as problem:
        raise UserError(f"Row {number} of '{path}' {problem}; mend it or take it out.") from None


def _rest(row: Row) -> Row:
    return {key: row[key] for key in KEPT if key in row}


def _tie(row: Row) -> Row:
    return _pair({key: value for key, value in row.items() if key != "tie"})


def _pair(row: Row) -> Row:
    if row.get("tie"):
        raise _Bad("says that its replies are equally good, which only a reward model learns from")
    margin = row.get("margin", 0.0)
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not math.isfinite(margin):
        raise _Bad(f'has {margin!r} as its "margin", which is a number')
    if "preferred_output" in row:  # OpenAI's form
        given = row.get("input")
        prompt = given.get("messages") if isinstance(given, dict) else None
        row = {"prompt": prompt, "chosen": row["preferred_output"], "rejected": row.get("non_preferred_output")}
    elif "prompt" not in row and all(isinstance(row.get(side), list) for side in ("chosen", "rejected")):
        chosen, rejected = row["chosen"], row["rejected"]
        if chosen[:-1] != rejected[:-1]:
            raise _Bad("has no prompt, and its two conversations differ before their last message")
        row = {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}
    prompt, chosen, rejected = _prompt(row), _reply(row, "chosen"), _reply(row, "rejected")
    if chosen.strip() == rejected.strip():
        raise _Bad("has two replies that are the same, so neither is preferred")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _rating(row: Row) -> Row:
    good = row.get("good", row.get("label"))
    if not isinstance(good, bool):
        raise _Bad('is not rated: "good" is true or false')
    return {"prompt": _prompt(row), "reply": _reply(row, "reply" if "reply" in row else "completion"), "good": good}


def _number(row: Row) -> Row:
    rating = row.get("rating")
    if rating is None:
        return _rating(row)
    if not isinstance(rating, int | float) or isinstance(rating, bool) or not math.isfinite(rating):
        raise _Bad(f'has {rating!r} as its "rating", which is a number')
    return {"prompt": _prompt(row), "reply": _reply(row, "reply" if "reply" in row else "completion"), "rating": rating}


def _prompt(row: Row) -> list[Row]:
    prompt = row.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise _Bad('has no prompt: "prompt" is a text, or a list of messages')
    for message in prompt:
        _check(message)
    if prompt[-1]["role"] == "assistant":
        raise _Bad("has a prompt that ends with the assistant; its last message is the one replied to")
    return prompt


def _reply(row: Row, key: str) -> str:
    said = row.get(key)
    if isinstance(said, list):
        for message in said:
            _check(message)
        if [message["role"] for message in said] != ["assistant"]:
            raise _Bad(f'has other messages than one of the assistant in "{key}"')
        said = said[0]["content"]
    if not isinstance(said, str):
        raise _Bad(f'lacks the text of "{key}"')
    if not said.strip():
        raise _Bad(f'has an empty reply in "{key}"')
    return said


def _check(message: Any) -> None:
    if not isinstance(message, dict) or "role" not in message:
        raise _Bad("has a message without a role")
    if message["role"] not in ROLES:
        raise _Bad(f"has the role {message['role']!r}, which is none of {', '.join(ROLES)}")
    if not isinstance(message.get("content"), str) and not message.get("tool_calls"):
        raise _Bad(f"has a message of the {message['role']} without text")
