"""One request on its way: a prompt and how to go on from it, and what has been said so far.

What a request says is a function of its prompt, its sampling's seed and its index: what decodes beside it does not
change it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from torch import Tensor

from sayso.sample.rules import Rules
from sayso.sample.sampling import Sampling, seeded


class Constraint(Protocol):
    """What the next token may be, as a grammar has it."""

    def allowed(self) -> Tensor:
        """Return bool [V], True for each id that may come next."""
        ...

    def accept(self, token: int) -> None:
        """Take the token that came."""
        ...


class Score(NamedTuple):
    """What the model thinks of a token of a prompt in its place."""

    logprob: float
    rank: int
    """1 where no other token is likelier."""
    tops: dict[int, float]
    """The log-probabilities of the likeliest ids."""


@dataclass(eq=False)
class Request:
    """A prompt's ids with its settings, and the reply as it grows."""

    prompt: Sequence[int]
    sampling: Sampling
    index: int = 0
    """Which sample of one seed: another index gives another text."""
    stop_ids: frozenset[int] = frozenset()
    salt: str = ""
    """Only requests of one salt share what was computed for a prefix."""
    adapter: str = ""
    """Which of the engine's adapters speaks; none when empty."""
    constraint: Constraint | None = None
    watch: Callable[[int], bool] | None = None
    """Called with every new id that is not a stop id; True ends the reply there."""
    room: int = 0
    """The most tokens that may follow; the engine sets it."""
    ids: list[int] = field(default_factory=list)
    """The new tokens, without the stop id."""
    logprobs: list[float] = field(default_factory=list)
    """Of each new id, its natural-log probability under the model itself, before edits, temperature and filters."""
    ended_by: int | None = None
    """The stop id that ended it, which is none of `ids`."""
    ended_logprob: float = 0.0
    """Of that id, as in `logprobs`."""
    tops: list[dict[int, float]] = field(default_factory=list)
    """Of each new id, the log-probabilities of the likeliest ids in its place, when sampling.logprobs asks for them."""
    prompt_tops: int | None = None
    """Ask for the log-probabilities of the prompt's own tokens, and of so many of the likeliest in each place."""
    prompt_scores: list[Score] = field(default_factory=list)
    """Of the prompt's second token and those after it, when `prompt_tops` asks."""
    reused: int = 0
    """How many of the prompt's tokens did not have to be computed; the engine sets it."""
    finish: str = ""
    """Empty while it goes on; then "stop" (a stop id, or the watcher ended it), "length", "cancelled" or "error"."""
    error: str = ""
    """Why it ended so."""
    rules: Rules | None = field(default=None, init=False, repr=False)
    """What the settings mean for the vocabulary, and the counts of what was said; `pick` makes and keeps them."""

    def __post_init__(self) -> None:
        self.sampling = seeded(self.sampling)
        self.generator: Random = self.sampling.generator(self.index)
