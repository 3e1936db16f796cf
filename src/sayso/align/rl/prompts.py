"""Reads training prompts from a JSON Lines file, as conversations that end before a reply.

A row is `{"prompt": ...}`, a string or a list of messages; its other fields are passed to the rewards as `info`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, read_rows
from sayso.token.chat import ROLES, prompt_ids
from sayso.token.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A prompt of a file."""

    number: int
    """Number of its line, counted from 1."""
    messages: list[dict[str, Any]]
    info: Mapping[str, Any]
    """Other fields of its row, for rewards."""

    @property
    def key(self) -> str:
        """The messages as JSON, equal for equal prompts."""
        return json.dumps(self.messages, sort_keys=True)


def read_prompts(path: Path, bad: BadRows, check: Callable[[Prompt], object] | None = None) -> list[Prompt]:
    """Return the prompts of a JSONL file; a string is a turn of the user.

    A row without a prompt, one that ends with a turn of the assistant, and one for which `check` raises a `UserError`,
    are counted in `bad`. Raises `UserError` if no row is left.
    """
    if not path.exists():
        raise UserError(
            f"There is no file of prompts '{path}'; pass a JSONL file, or write puzzles with: sayso puzzles"
        )

    def checked(number: int, row: dict[str, Any]) -> Prompt:
        prompt = _prompt(number, row)
        if check:
            check(prompt)
        return prompt

    tried = [bad.attempt(f"{path}:{number}", checked, number, row) for number, row in read_rows(path, bad)]
    prompts = [prompt for prompt in tried if prompt is not None]
    if not prompts:
        bad.check()
        raise UserError(f"At least one prompt is required; '{path}' has none.")
    return prompts


def ids_of(prompts: Sequence[Prompt], tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Return the ids of each prompt. Raises `UserError` for one that leaves no room for a reply."""
    ids = [prompt_ids(tokenizer, prompt.messages) for prompt in prompts]
    for prompt, own in zip(prompts, ids, strict=True):
        if len(own) >= context:
            raise UserError(
                f"A prompt must leave room for a reply in the context of {context:,} tokens; the one in line "
                f"{prompt.number} has {len(own):,}: shorten or remove it."
            )
    return ids


def _prompt(number: int, row: dict[str, Any]) -> Prompt:
    given = row.get("prompt")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(messages, list) or not messages or not all(map(_is_turn, messages)):
        raise UserError(
            f'"prompt" must be a string, or a list of messages with a role ({", ".join(ROLES)}) and a string as '
            f"content; got {given!r:.100}."
        )
    if messages[-1]["role"] == "assistant":
        raise UserError("A prompt must not end with a message of the assistant; remove the message.")
    return Prompt(number, messages, {key: value for key, value in row.items() if key != "prompt"})


def _is_turn(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
