"""Picking the next token: logits [B, V] of B rows enter, one id a row leaves.

The order is that of transformers and vLLM: repetition penalty, temperature, top-k, top-p, min-p, then one draw.
(llama.cpp puts temperature last: the same numbers give other text there.) A row draws from a generator of its own,
so that what it says does not depend on the rows beside it. B rows, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from sayso.base.errors import UserError

LEFT_OUT = float("-inf")
LIKELIEST = 128  # how many of the likeliest tokens top-p sorts first; a full sort follows only if they do not suffice


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

    def generator(self, row: int) -> Random:
        """Return the random generator of one row, a function of (seed, row) alone; it needs a seed."""
        assert self.seed is not None
        return Random(f"{self.seed}/{row}")


def _check(name: str, got: object, good: bool, rule: str) -> None:
    if not good:  # written so that NaN, which compares false, is refused too
        raise UserError(f"{name} must be {rule}; got {got}.")


def pick(logits: Tensor, sampling: Sampling, generators: Sequence[Random], seen: Tensor | None = None) -> Tensor:
    """Return one token id a row, int64 [B].

    logits: [B, V]. generators: one a row, each drawn from once (none is used when greedy).
    seen: bool [B, V], the tokens of the prompt and the reply so far; needed with a repetition penalty.
    """
    if sampling.temperature == 0:
        return penalise(logits, sampling.repetition_penalty, seen).argmax(-1)
    scores = narrow(logits, sampling, seen)
    precise = torch.float32 if scores.device.type == "mps" else torch.float64
    heights = scores.softmax(-1, dtype=precise).cumsum(-1)
    draws = torch.tensor([[generator.random()] for generator in generators], dtype=precise).to(scores.device)
    # Strictly below the last height, so that rounding can never land on a token that was left out.
    top = heights[:, -1:]
    marks = torch.minimum(draws * top, torch.nextafter(top, torch.zeros_like(top)))
    return torch.searchsorted(heights, marks, right=True).squeeze(-1).clamp_max(logits.shape[-1] - 1)


def narrow(logits: Tensor, sampling: Sampling, seen: Tensor | None = None) -> Tensor:
    """Return scores [B, V] whose softmax is the distribution to draw from; -inf for a token that is left out."""
    scores = penalise(logits, sampling.repetition_penalty, seen)
    scores = (scores - scores.amax(-1, keepdim=True)) / sampling.temperature  # the likeliest is 0: nothing overflows
    if 0 < sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k).values[:, -1:]
        scores = scores.masked_fill(scores < least, LEFT_OUT)
    if sampling.top_p < 1:
        scores = scores.masked_fill(scores < nucleus_edge(scores, sampling.top_p), LEFT_OUT)
    if sampling.min_p > 0:
        scores = scores.masked_fill(scores < math.log(sampling.min_p), LEFT_OUT)
    return scores


def penalise(logits: Tensor, penalty: float, seen: Tensor | None) -> Tensor:
    """Return logits with those of seen tokens divided by the penalty where positive, multiplied where negative."""
    if penalty == 1:
        return logits
    assert seen is not None, "a repetition penalty needs the seen tokens"
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def nucleus_edge(scores: Tensor, top_p: float) -> Tensor:
    """Return the score [B, 1] of the last token of the nucleus: the fewest likeliest tokens with mass `top_p`.

    A token belongs to it while the likelier ones have less than `top_p`. Sorting a whole vocabulary is slow and seldom
    needed, so that the likeliest are tried first.
    """
    total = scores.logsumexp(-1, keepdim=True)
    for count in (min(LIKELIEST, scores.shape[-1]), scores.shape[-1]):
        ranked = scores.topk(count).values
        chances = (ranked - total).exp()
        before = chances.cumsum(-1) - chances
        inside = before < top_p
        if count == scores.shape[-1] or not bool(inside[:, -1].any()):
            break
    last = inside.sum(-1, keepdim=True).clamp_min(1) - 1
    return ranked.gather(-1, last)
