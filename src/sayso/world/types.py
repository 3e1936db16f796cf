"""What the small world exchanges: a prompt with its check, a task (prompt and a right reply), a score with reasons.

`Prompt.check` is plain JSON data, enough to score any reply: the checker knows nothing of how a prompt was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PlainMessage = dict[str, str]


@dataclass(frozen=True)
class TaskPrompt:
    """Messages up to the reply that is asked for, the family, and the data that scores a reply."""

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
    """0 (wrong) to 1 (right), and why, in sentences for people."""

    value: float
    reasons: tuple[str, ...]


def user(text: str) -> PlainMessage:
    """A turn of the user."""
    return {"role": "user", "content": text}


def assistant(text: str) -> PlainMessage:
    """A turn of the assistant."""
    return {"role": "assistant", "content": text}


def system(text: str) -> PlainMessage:
    """A turn of the system."""
    return {"role": "system", "content": text}
