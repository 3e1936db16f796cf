"""Prompts to practise on: a JSONL file enters, conversations that wait for a reply leave.

A row is `{"prompt": ...}`, a text or a list of messages; whatever else it holds reaches the rewards as `info`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_jsonl
from sayso.token.chat import ROLES, render
from sayso.token.tokenizer import Tokenizer


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


def ids_of(prompts: Sequence[Prompt], tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Return the ids of each prompt. Raises `UserError`, with its line, for one that leaves no room for a reply."""
    ids = [render(tokenizer, prompt.messages, reply=True)[0] for prompt in prompts]
    for prompt, asked in zip(prompts, ids, strict=True):
        if len(asked) >= context:
            raise UserError(
                f"A prompt leaves room for a reply in the context of {context:,} tokens; that of line "
                f"{prompt.number} has {len(asked):,}: shorten it or take it out."
            )
    return ids


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
