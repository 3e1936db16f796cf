"""How tokens are picked and when a reply ends: the settings of one request, checked."""

import math
import random
from dataclasses import dataclass, replace

from sayso.base.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked and when a reply ends. Raises `UserError` for a value that cannot work."""

    temperature: float = 0.8
    """Divides the logits: below 1 safer, above 1 bolder, 0 always the likeliest token (greedy)."""
    top_k: int = 0
    """Keep the k likeliest tokens (Fan et al. 2018); 0 = off."""
    top_p: float = 1.0
    """Keep the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 = off."""
    min_p: float = 0.0
    """Keep tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024); 0 = off."""
    repetition_penalty: float = 1.0
    """Makes tokens of the prompt and the reply less likely when above 1 (Keskar et al. 2019); 1 = off."""
    max_tokens: int = 200
    """Most tokens of one reply."""
    seed: int | None = None
    """Same seed, same text; None = another text each time."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; they are not part of it."""

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 (greedy) or above, such as 0.8")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (off) or a positive number of tokens, such as 40")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (off), such as 0.95")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 (off) to 1, such as 0.05")
        penalty = self.repetition_penalty
        _check("repetition_penalty", penalty, 0 < penalty < math.inf, "above 0, with 1 for off, such as 1.1")
        _check("max_tokens", self.max_tokens, self.max_tokens >= 1, "at least 1, such as 200")
        if "" in self.stop:
            raise UserError("A stop text must not be empty, because every reply contains it; leave it away.")

    def generator(self, row: int) -> random.Random:
        """Return the random generator of one row, a function of (seed, row) alone; it needs a seed."""
        assert self.seed is not None
        return random.Random(f"{self.seed}/{row}")


def _check(name: str, got: object, good: bool, rule: str) -> None:
    if not good:  # written so that NaN, which compares false, is refused too
        raise UserError(f"{name} must be {rule}; got {got}.")


def seeded(sampling: Sampling) -> Sampling:
    """Return the sampling with a seed: its own, or a fresh one."""
    return sampling if sampling.seed is not None else replace(sampling, seed=random.SystemRandom().getrandbits(63))
