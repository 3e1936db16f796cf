"""Ask only what was not answered before, a few items at a time, so that an interrupted evaluation resumes.

Takes the items that are asked and a function that answers some of them; returns the answers to all, in order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """The answer to one item."""

    item: str
    cluster: str
    prompt: str
    """Hash of what was asked, see `prompt_hash`."""
    right: float
    """The score by the task's metric."""
    scores: Mapping[str, float]
    """By name, such as acc, acc_norm and acc_token of options: 1 if right, else 0; and bits_per_byte."""
    logprobs: tuple[float, ...]
    """Log-probability of each option; none of a generated answer."""
    choice: int
    """The preferred option by the task's metric; without options, 0 if right, else -1."""
    cut: int
    """Tokens cut from the beginning of its longest context."""
    merged: bool
    """Whether a token crosses the border between a context and its continuation."""
    text: str = ""
    """The answer, if it was generated."""

    @property
    def unit(self) -> str:
        """What is sampled independently: its cluster, or the item itself."""
        return self.cluster or self.item


class Memory(Protocol):
    """Answers of one model to one task that outlast the process."""

    def known(self, item: str, prompt: str) -> Answer | None:
        """Return the earlier answer to an item, asked by a prompt with this hash; None if there is none."""

    def keep(self, answers: Sequence[Answer]) -> None:
        """Store new answers."""


@dataclass(frozen=True)
class Asked:
    """An item that is asked."""

    item: str
    """Its name in its task."""
    prompt: str
    """Hash of what is asked, see `prompt_hash`."""


def answer_new(
    asked: Sequence[Asked],
    answer: Callable[[list[int]], Iterable[Answer]],
    at_once: int,
    memory: Memory | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Return the answer to each item: that in memory, or a new one, which is kept.

    `answer` takes the places in `asked` of at most `at_once` items. If it fails half way, the answers that it has
    yielded are kept. `progress` receives the number of items done each time.
    """
    earlier = {place: memory.known(one.item, one.prompt) if memory else None for place, one in enumerate(asked)}
    found = {place: one for place, one in earlier.items() if one is not None}
    progress(len(found))
    waiting = [place for place in earlier if place not in found]
    for start in range(0, len(waiting), at_once):
        part = waiting[start : start + at_once]
        new: dict[int, Answer] = {}
        try:
            for place, one in zip(part, answer(part), strict=True):
                new[place] = one
        finally:
            if memory and new:
                memory.keep(list(new.values()))
        found |= new
        progress(len(new))
    return [found[place] for place in earlier]
