"""The types of all puzzles: a problem with its worked solution, and the signatures of its generator and its checker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Problem:
    """One problem: what is asked, what a checker needs to know, and one right reply."""

    prompt: str
    solution: str
    info: Mapping[str, Any] = field(default_factory=dict)
    """Facts for the checker, JSON-ready; a row of a file of problems holds them beside the prompt."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is asked, as a conversation that waits for its reply."""
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
    """A maker of problems: a pure function of its arguments."""

    def __call__(self, seed: int, index: int, split: str, size: int) -> Problem:
        """Return problem `index` of a split; `size` is its difficulty: digits, or how many numbers."""
        ...


class PuzzleScore(Protocol):
    """A checker: how right a reply is, 0 to 1; `prompt` is the text or the messages that were asked."""

    def __call__(self, prompt: object, reply: str, info: Mapping[str, Any], /) -> float:
        """Return the score."""
        ...
