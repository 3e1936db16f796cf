"""One request: a prompt, how to continue it, and its output so far.

The output of a request is a function of its prompt, its sampling's seed and its index: other requests in the batch do
not change it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from torch import Tensor

from sayso.base.errors import UserError
from sayso.sample.rules import Rules
from sayso.sample.sampling import Sampling, seeded


class Constraint(Protocol):
    """Restricts the next token, for example to a grammar."""

    def allowed(self) -> Tensor:
        """Return bool [V], True for each allowed next id."""
        ...

    def accept(self, token: int) -> None:
        """Advance by a token."""
        ...


class PromptLogprob(NamedTuple):
    """The model's score of one prompt token."""

    logprob: float
    rank: int
    """1 if no other token is likelier."""
    tops: dict[int, float]
    """Log-probabilities of the likeliest ids."""


@dataclass(eq=False)
class Request:
    """A prompt's ids with its settings, and the reply as it grows."""

    prompt: Sequence[int]
    sampling: Sampling
    index: int = 0
    """Index of the sample: with the same seed, each index gives another text."""
    stop_ids: frozenset[int] = frozenset()
    salt: str = ""
    """Only requests with the same salt share cached prefixes."""
    adapter: str = ""
    """Name of the engine's adapter; none if empty."""
    constraint: Constraint | None = None
    watch: Callable[[int], bool] | None = None
    """Called with every new id that is not a stop id; True ends the reply there."""
    room: int = 0
    """Maximum number of tokens that may follow; set by the engine."""
    round: int = 0
    """Waiting requests start in the order of their rounds; set by the engine."""
    ids: list[int] = field(default_factory=list)
    """The new tokens, without the stop id."""
    logprobs: list[float] = field(default_factory=list)
    """Natural log-probability of each new id under the model itself, before edits, temperature and filters."""
    ended_by: int | None = None
    """The stop id that ended it; not part of `ids`."""
    ended_logprob: float = 0.0
    """Log-probability of that id, as in `logprobs`."""
    tops: list[dict[int, float]] = field(default_factory=list)
    """For each new id, the log-probabilities of the likeliest ids at its position, if sampling.logprobs is set."""
    prompt_tops: int | None = None
    """Number of likeliest ids to score per position of the prompt, in addition to its own tokens; None = no scores."""
    prompt_scores: list[PromptLogprob] = field(default_factory=list)
    """Scores of the prompt's second and later tokens, if requested by `prompt_tops`."""
    reused: int = 0
    """Number of prompt tokens found in the cache; set by the engine."""
    finish: str = ""
    """Empty while in progress; then "stop" (a stop id, or the watcher ended it), "length", "cancelled" or "error"."""
    error: UserError | None = None
    """Why it ended, after "error"."""
    rules: Rules | None = field(default=None, init=False, repr=False)
    """The settings resolved for the vocabulary, with the token counts; set when the request is first used."""

    def __post_init__(self) -> None:
        self.sampling = seeded(self.sampling)
        self.generator: Random = self.sampling.generator(self.index)
