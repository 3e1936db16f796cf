"""Sampling settings and stop conditions of one request, validated.

The settings that are one number are declared in `settings.py`; the order in which they apply is in `pick.py`.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from sayso.base.errors import UserError
from sayso.base.ranges import check_ranges
from sayso.sample.settings import SamplingSettings


@dataclass(frozen=True, kw_only=True)
class Sampling(SamplingSettings):
    """How tokens are picked and when a reply ends. Raises `UserError` for an invalid value."""

    seed: int | None = None  # not limited to 63 bits: acts derive seeds from --seed
    """Random seed: the same seed gives the same text; None = random."""
    dry_breakers: tuple[int, ...] = ()
    """Ids that interrupt repetitions and are never penalized by DRY, such as line breaks; stop ids always are."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of an id and the value added to its logit (OpenAI's definition); empty = off."""
    allowed_ids: tuple[int, ...] = ()
    """The only allowed ids, including a stop id if the reply should be able to end; empty = all."""
    banned: tuple[tuple[int, ...], ...] = ()
    """Sequences of ids that must not occur, across prompt and reply; empty = off."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; they are not part of it."""
    logprobs: int | None = None
    """Number of likeliest ids to report per position, before any setting applies; 0 or None = only the picked id."""

    def __post_init__(self) -> None:
        check_ranges(self, flags=False)
        self._check_ids()
        lengths = f"from 0 (off) to max_tokens, which is {self.max_tokens}"
        _check("min_tokens", self.min_tokens, self.min_tokens <= self.max_tokens, lengths)
        if "" in self.stop:
            raise UserError("A stop text must not be empty, because every reply contains it; omit it.")
        tops = self.logprobs
        _check("logprobs", tops, tops is None or tops >= 0, "None or a number of tokens from 0, such as 5")

    def _check_ids(self) -> None:
        ids = [token for token, _ in self.logit_bias]
        _check_ids("logit_bias", ids)
        _check("logit_bias", self.logit_bias, len(set(ids)) == len(ids), "at most one number for each id")
        finite = all(math.isfinite(bias) for _, bias in self.logit_bias)
        _check("logit_bias", self.logit_bias, finite, "finite numbers (use banned for an id that must never occur)")
        _check_ids("allowed_ids", self.allowed_ids)
        _check("banned", self.banned, all(self.banned), "sequences of at least one id each")
        _check_ids("dry_breakers", self.dry_breakers)
        _check_ids("banned", [token for sequence in self.banned for token in sequence])

    @cached_property
    def edits(self) -> bool:
        """Whether a setting changes the logits themselves, before the temperature."""
        penalties = (self.repetition_penalty - 1, self.presence_penalty, self.frequency_penalty, self.dry_multiplier)
        return any(penalties) or any((self.logit_bias, self.allowed_ids, self.banned, self.min_tokens))

    def generator(self, row: int) -> random.Random:
        """Return the random generator of one row, a function of (seed, row) alone; requires a seed."""
        assert self.seed is not None
        return random.Random(f"{self.seed}/{row}")


def _check(name: str, got: object, good: bool, rule: str) -> None:
    if not good:
        raise UserError(f"{name} must be {rule}; got {got}.")


def seeded(sampling: Sampling) -> Sampling:
    """Return the sampling with a seed: its own, or a new random one."""
    return sampling if sampling.seed is not None else replace(sampling, seed=random.SystemRandom().getrandbits(63))


def _check_ids(name: str, ids: Iterable[int]) -> None:
    for token in ids:
        if token < 0:
            raise UserError(f"{name} must have token ids of at least 0; got {token}.")
