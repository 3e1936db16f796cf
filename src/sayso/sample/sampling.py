"""Sampling settings and stop conditions of one request, validated.

Every setting has a value at which it is off and has no effect; the order in which they apply is in `pick.py`.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from sayso.base.errors import UserError


@dataclass(frozen=True)
class Dry:
    """Don't repeat yourself (p-e-w 2024): penalizes tokens that would continue a repetition, more the longer it is.

    The penalty is `multiplier * base ** (length - allowed_length)`. Raises `UserError` for an invalid value.
    """

    multiplier: float
    """Penalty of a repetition of the allowed length; 0 = off."""
    base: float = 1.75
    """Factor of the penalty for each further token of the repetition."""
    allowed_length: int = 2
    """Shortest repetition, in tokens, whose continuation is penalized."""
    range: int = 0
    """How many of the last tokens of prompt and reply are searched for repetitions; 0 = all."""
    breakers: frozenset[int] = frozenset()
    """Ids that interrupt repetitions and are never penalized, such as line breaks; stop ids are always included."""

    def __post_init__(self) -> None:
        _check("dry.multiplier", self.multiplier, 0 <= self.multiplier < math.inf, "0 (off) or above, such as 0.8")
        _check("dry.base", self.base, 1 <= self.base < math.inf, "at least 1, such as 1.75")
        _check("dry.allowed_length", self.allowed_length, self.allowed_length >= 1, "at least 1, such as 2")
        _check("dry.range", self.range, self.range >= 0, "0 (all) or a positive number of tokens, such as 1024")
        _check_ids("dry.breakers", self.breakers)


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked and when a reply ends. Raises `UserError` for an invalid value."""

    temperature: float = 0.8
    """Divides the logits: lower is more predictable, higher more varied, 0 greedy."""
    top_k: int = 0
    """Keep the k likeliest tokens (Fan et al. 2018); 0 = off."""
    top_p: float = 1.0
    """Keep the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 = off."""
    min_p: float = 0.0
    """Keep tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024); 0 = off."""
    typical_p: float = 1.0
    """Keep the tokens nearest the expected surprise that together have this mass (Meister et al. 2022); 1 = off."""
    repetition_penalty: float = 1.0
    """Makes tokens of the prompt and the reply less likely if above 1 (Keskar et al. 2019); 1 = off."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of every token already in the reply (OpenAI's definition); 0 = off."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each of its occurrences in the reply (OpenAI's definition); 0 = off."""
    dry: Dry | None = None
    """Makes the continuation of a repetition less likely (p-e-w 2024); None = off."""
    xtc_probability: float = 0.0
    """Probability of excluding all tokens above the threshold but the least likely one (XTC, p-e-w 2024); 0 = off."""
    xtc_threshold: float = 0.1
    """Minimum probability of a token excluded by XTC; above 0.5 = off, since no two tokens have it."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of an id and the value added to its logit (OpenAI's definition); empty = off."""
    allowed_ids: tuple[int, ...] = ()
    """The only allowed ids, including a stop id if the reply should be able to end; empty = all."""
    banned: tuple[tuple[int, ...], ...] = ()
    """Sequences of ids that must not occur, across prompt and reply; empty = off."""
    min_tokens: int = 0
    """Minimum number of tokens before stop ids are allowed; 0 = off."""
    max_tokens: int = 200
    """Maximum number of tokens of one reply."""
    seed: int | None = None
    """Random seed: the same seed gives the same text; None = random."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; they are not part of it."""
    logprobs: int | None = None
    """Number of likeliest ids to report per position, before any setting applies; 0 or None = only the picked id."""

    def __post_init__(self) -> None:
        self._check_filters()
        self._check_edits()
        _check("max_tokens", self.max_tokens, self.max_tokens >= 1, "at least 1, such as 200")
        lengths = f"from 0 (off) to max_tokens, which is {self.max_tokens}"
        _check("min_tokens", self.min_tokens, 0 <= self.min_tokens <= self.max_tokens, lengths)
        if "" in self.stop:
            raise UserError("A stop text must not be empty, because every reply contains it; omit it.")
        tops = self.logprobs
        _check("logprobs", tops, tops is None or tops >= 0, "None or a number of tokens from 0, such as 5")

    def _check_filters(self) -> None:
        _check("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 (greedy) or above, such as 0.8")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (off) or a positive number of tokens, such as 40")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (off), such as 0.95")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 (off) to 1, such as 0.05")
        _check("typical_p", self.typical_p, 0 < self.typical_p <= 1, "above 0 and at most 1 (off), such as 0.95")
        chance = self.xtc_probability
        _check("xtc_probability", chance, 0 <= chance <= 1, "from 0 (off) to 1, such as 0.5")
        _check("xtc_threshold", self.xtc_threshold, 0 < self.xtc_threshold <= 1, "above 0 and at most 1, such as 0.1")

    def _check_edits(self) -> None:
        penalty = self.repetition_penalty
        _check("repetition_penalty", penalty, 0 < penalty < math.inf, "above 0, with 1 for off, such as 1.1")
        for name in ("presence_penalty", "frequency_penalty"):
            got = getattr(self, name)
            _check(name, got, math.isfinite(got), "a finite number, with 0 for off, such as 0.5")
        ids = [token for token, _ in self.logit_bias]
        _check_ids("logit_bias", ids)
        _check("logit_bias", self.logit_bias, len(set(ids)) == len(ids), "at most one number for each id")
        finite = all(math.isfinite(bias) for _, bias in self.logit_bias)
        _check("logit_bias", self.logit_bias, finite, "finite numbers (use banned for an id that must never occur)")
        _check_ids("allowed_ids", self.allowed_ids)
        _check("banned", self.banned, all(self.banned), "sequences of at least one id each")
        _check_ids("banned", [token for sequence in self.banned for token in sequence])

    @cached_property
    def edits(self) -> bool:
        """Whether a setting changes the logits themselves, before the temperature."""
        penalties = (self.repetition_penalty - 1, self.presence_penalty, self.frequency_penalty, self.repeats)
        return any(penalties) or any((self.logit_bias, self.allowed_ids, self.banned, self.min_tokens))

    @property
    def repeats(self) -> Dry | None:
        """The settings of DRY if enabled."""
        return self.dry if self.dry and self.dry.multiplier else None

    def generator(self, row: int) -> random.Random:
        """Return the random generator of one row, a function of (seed, row) alone; requires a seed."""
        assert self.seed is not None
        return random.Random(f"{self.seed}/{row}")


def _check(name: str, got: object, good: bool, rule: str) -> None:
    if not good:  # written so that NaN, which compares false, is rejected too
        raise UserError(f"{name} must be {rule}; got {got}.")


def seeded(sampling: Sampling) -> Sampling:
    """Return the sampling with a seed: its own, or a new random one."""
    return sampling if sampling.seed is not None else replace(sampling, seed=random.SystemRandom().getrandbits(63))


def _check_ids(name: str, ids: Iterable[int]) -> None:
    for token in ids:
        if token < 0:
            raise UserError(f"{name} must have token ids of at least 0; got {token}.")
