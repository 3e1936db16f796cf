"""Types of all puzzles: a problem with its solution, and the signatures of its generator and its checker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Problem:
    """One problem: the prompt, one right reply, and data for the checker."""

    prompt: str
    solution: str
    info: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready data for the checker; rows of a file of problems hold it next to the prompt."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as a conversation without its reply."""
        return [{"role": "user", "content": self.prompt}]

    def row(self) -> dict[str, Any]:
        """Return the problem as a row of a file of prompts."""
        return {"prompt": self.messages, **self.info}

    def demonstration(self) -> dict[str, Any]:
        """Return the problem with its solution as a conversation to tune on."""
        return {
            "messages": [*self.messages, {"role": "assistant", "content": self.solution}],
            "source": self.info["puzzle"],
        }


class Make(Protocol):
    """A generator of problems: a pure function of its arguments."""

    def __call__(self, seed: int, index: int, split: str, size: int) -> Problem:
        """Return problem `index` of a split; `size` is its difficulty: the number of digits, or of numbers."""
        ...


class PuzzleScore(Protocol):
    """A checker: returns the score of a reply, 0 to 1; `prompt` is the prompt's text or messages."""

    def __call__(self, prompt: object, reply: str, info: Mapping[str, Any], /) -> float:
        """Return the score of a reply."""
        ...
