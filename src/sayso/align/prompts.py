"""Prompts to practise on: a JSONL file enters, conversations that wait for a reply leave.

A row is `{"prompt": ...}`, a text or a list of messages; whatever else it holds reaches the rewards as `info`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl
from sayso.token.chat import ROLES


@dataclass(frozen=True)
class Prompt:
    """One prompt of a file."""

    number: int
    """Its line, counted from 1."""
    messages: list[dict[str, Any]]
    info: Mapping[str, Any]
    """What else its row holds, for rewards."""


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of a JSONL file; a text is one turn of the user's.

    Raises `UserError`, with the line, for a row without a prompt, or one whose last turn is the assistant's already.
    """
    if not path.exists():
        raise UserError(f"Prompts are read from a JSONL file; there is no '{path}'. Make puzzles with: sayso puzzles")
    prompts = [_prompt(path, number, row) for number, row in enumerate(read_jsonl(path), 1)]
    if not prompts:
        raise UserError(f"Practising needs one prompt or more; '{path}' is empty.")
    return prompts


def _prompt(path: Path, number: int, row: object) -> Prompt:
    given = row.get("prompt") if isinstance(row, dict) else None
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(row, dict) or not isinstance(messages, list) or not messages or not all(map(_is_turn, messages)):
        raise UserError(
            f'A row of prompts has "prompt": a text, or messages with a role ({", ".join(ROLES)}) and a text as '
            f"content; line {number} of '{path}' has not: mend it or take it out."
        )
    if messages[-1]["role"] == "assistant":
        raise UserError(f"A prompt waits for the assistant's reply; line {number} of '{path}' ends with one already.")
    return Prompt(number, messages, {key: value for key, value in row.items() if key != "prompt"})


def _is_turn(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
