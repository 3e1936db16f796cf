"""Data types of the small world: a prompt with its check, a task (prompt and right reply), a score with reasons.

`TaskPrompt.check` is plain JSON data that suffices to score any reply, without the generator of the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PlainMessage = dict[str, str]


@dataclass(frozen=True)
class TaskPrompt:
    """Messages up to the requested reply, the family, and the data that scores a reply."""

    messages: tuple[PlainMessage, ...]
    family: str
    check: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A prompt and a reply to it that scores 1."""

    prompt: TaskPrompt
    reply: str


@dataclass(frozen=True)
class Score:
    """A value from 0 (wrong) to 1 (right), and the reasons, as sentences."""

    value: float
    reasons: tuple[str, ...]


def user(text: str) -> PlainMessage:
    """Return a message of the user."""
    return {"role": "user", "content": text}


def assistant(text: str) -> PlainMessage:
    """Return a message of the assistant."""
    return {"role": "assistant", "content": text}


def system(text: str) -> PlainMessage:
    """Return a system message."""
    return {"role": "system", "content": text}
