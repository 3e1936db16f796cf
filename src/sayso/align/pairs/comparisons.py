"""Reads comparisons and ratings from JSON Lines in several formats, checks them, and converts them to one format.

A pair is {"prompt": messages, "chosen": text, "rejected": text}; a rating is {"prompt": messages, "reply": text,
"good": true or false}. Prompts and replies may also be strings or lists of messages, as in TRL's formats, including
implicit prompts, "completion" and "label". Pairs may also have the format of OpenAI's platform.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, read_rows
from sayso.text.calls import as_data, resolved, with_calls

_ROLES = ("system", "user", "assistant", "tool")
KEPT = ("source", "group", "margin", "tie", "weight")
"""Other keys of a row that are kept: its source, its conversation, the margin, whether it is a tie, and the weight."""
ComparisonRow = dict[str, Any]
RowCheck = Callable[[ComparisonRow], object]
"""Raises `UserError` for a row that cannot be trained on, such as one that the chat template rejects."""


def read_pairs(path: Path, bad: BadRows, *, ties: bool = False, check: RowCheck | None = None) -> list[ComparisonRow]:
    """Return the pairs of a file; with `ties`, rows may have "tie": true if both replies are equally good.

    A row that lacks a part or a role, or has an empty reply or equal replies, is counted in `bad`, as is one for which
    `check` raises a `UserError`.
    """
    return _read(path, bad, _tie if ties else _pair, check)


def read_ratings(
    path: Path, bad: BadRows, *, numbers: bool = False, check: RowCheck | None = None
) -> list[ComparisonRow]:
    """Return the ratings of a file; with `numbers`, rows may have a number as "rating" instead of "good".

    A row that lacks a part or a role, has an empty reply, or is not rated, is counted in `bad`, as is one for which
    `check` raises a `UserError`.
    """
    return _read(path, bad, _number if numbers else _rating, check)


def holds_ratings(path: Path) -> bool:
    """Return whether the first readable row of a file is a rating rather than a pair."""
    _, first = next(read_rows(path, BadRows()), (0, {}))
    return any(key in first for key in ("good", "label", "rating"))


def ratings_of(pairs: Iterable[ComparisonRow]) -> list[ComparisonRow]:
    """Convert pairs to single ratings: the chosen reply is good, the rejected one is not."""
    sides = (("chosen", True), ("rejected", False))
    return [
        {**_rest(pair), "prompt": pair["prompt"], "reply": pair[side], "good": good}
        for pair in pairs
        for side, good in sides
    ]


def _read(
    path: Path, bad: BadRows, convert: Callable[[ComparisonRow], ComparisonRow], check: RowCheck | None
) -> list[ComparisonRow]:
    def checked(row: ComparisonRow) -> ComparisonRow:
        converted = convert(row)
        if check:
            check(converted)
        return {**_rest(row), **converted}

    rows = (bad.attempt(f"{path}:{number}", checked, row) for number, row in read_rows(path, bad))
    return [row for row in rows if row is not None]


def _rest(row: ComparisonRow) -> ComparisonRow:
    return {key: row[key] for key in KEPT if key in row}


def _tie(row: ComparisonRow) -> ComparisonRow:
    return _pair({key: value for key, value in row.items() if key != "tie"})


def _pair(row: ComparisonRow) -> ComparisonRow:
    if row.get("tie"):
        raise UserError("The replies are marked as a tie, which only reward models can be trained on.")
    margin = row.get("margin", 0.0)
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not math.isfinite(margin):
        raise UserError(f'"margin" must be a number; got {margin!r:.100}.')
    if "preferred_output" in row:  # OpenAI's format
        given = row.get("input")
        prompt = given.get("messages") if isinstance(given, dict) else None
        row = {"prompt": prompt, "chosen": row["preferred_output"], "rejected": row.get("non_preferred_output")}
    elif "prompt" not in row and all(isinstance(row.get(side), list) for side in ("chosen", "rejected")):
        chosen, rejected = row["chosen"], row["rejected"]
        if chosen[:-1] != rejected[:-1]:
            raise UserError("There is no prompt, and the two conversations differ before their last message.")
        row = {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}
    prompt, chosen, rejected = _prompt(row), _reply(row, "chosen"), _reply(row, "rejected")
    if chosen.strip() == rejected.strip():
        raise UserError("The two replies are the same, so neither is preferred.")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _rating(row: ComparisonRow) -> ComparisonRow:
    good = row.get("good", row.get("label"))
    if not isinstance(good, bool):
        raise UserError('"good" must be true or false; this row has no such rating.')
    return {**_prompt_and_reply(row), "good": good}


def _number(row: ComparisonRow) -> ComparisonRow:
    rating = row.get("rating")
    if rating is None:
        return _rating(row)
    if not isinstance(rating, int | float) or isinstance(rating, bool) or not math.isfinite(rating):
        raise UserError(f'"rating" must be a number; got {rating!r:.100}.')
    return {**_prompt_and_reply(row), "rating": rating}


def _prompt_and_reply(row: ComparisonRow) -> ComparisonRow:
    return {"prompt": _prompt(row), "reply": _reply(row, "reply" if "reply" in row else "completion")}


def _prompt(row: ComparisonRow) -> list[ComparisonRow]:
    prompt = row.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise UserError('There is no prompt: "prompt" must be a string or a list of messages.')
    for message in prompt:
        _check(message)
    if prompt[-1]["role"] == "assistant":
        raise UserError("The prompt must not end with a message of the assistant.")
    return as_data(resolved(prompt)) if with_calls(prompt) else prompt


def _reply(row: ComparisonRow, key: str) -> str:
    reply = row.get(key)
    if isinstance(reply, list):
        for message in reply:
            _check(message)
        if [message["role"] for message in reply] != ["assistant"]:
            raise UserError(f'"{key}" must be a single message of the assistant.')
        reply = reply[0].get("content")
    if not isinstance(reply, str):
        raise UserError(f'The text of "{key}" is missing.')
    if not reply.strip():
        raise UserError(f'The reply in "{key}" is empty.')
    return reply


def _check(message: Any) -> None:
    if not isinstance(message, dict) or "role" not in message:
        raise UserError("A message has no role.")
    if message["role"] not in _ROLES:
        raise UserError(f"A role must be one of {', '.join(_ROLES)}; got {message['role']!r:.100}.")
    if not isinstance(message.get("content"), str) and not message.get("tool_calls"):
        raise UserError(f"A message of the {message['role']} has no text.")
