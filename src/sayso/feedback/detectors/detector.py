"""What a detector takes and what it is: a reply with its conversation goes in, what is wrong with it comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sayso.text.document import Messages


@dataclass(frozen=True)
class Reply:
    """A reply with the turns before it and what the user said next."""

    text: str
    prompt: Messages = ()
    """The turns that it answers, the system prompt included."""
    finish: str = "stop"
    """Reason for its end: stop, length, or stopped (by the user)."""
    next: str | None = None
    """What the user said next, if anything."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """The tools that it could call, in OpenAI's format; empty if they are not known."""

    @property
    def asked(self) -> str:
        """The last message of the user; "" if there is none."""
        return next((text for role, text in reversed(self.turns) if role == "user"), "")

    @property
    def system(self) -> str:
        """The system prompt; "" if there is none."""
        return "\n".join(text for role, text in self.turns if role == "system")

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Role and text of each turn before it."""
        return [(str(turn["role"]), str(turn.get("content") or "")) for turn in self.prompt]


@dataclass(frozen=True)
class Detector:
    """A named function of a reply."""

    name: str
    version: str
    """Changes whenever the function may find something else, so that replies are scanned again."""
    finds: Callable[[Reply], object]
    """Returns what is wrong with a reply, as a few words or True; None, False or "" if nothing is."""
    late: bool = False
    """Whether it reads what the user said next, so that it has to see a reply again when that is new."""
    question: str | None = None
    """What it asks a judge, if it is a question."""

    def found(self, reply: Reply) -> str | None:
        """Return what is wrong with a reply in a few words; None if nothing is."""
        said = self.finds(reply)
        return (said if isinstance(said, str) else self.name) if said else None
