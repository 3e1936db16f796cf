"""Picking the next token: logits [B, V] of B rows enter, one id a row leaves.

The order is that of transformers and vLLM: repetition penalty, temperature, top-k, top-p, min-p, then one draw.
(llama.cpp puts temperature last: the same numbers give other text there.) A row draws from a generator of its own,
so that what it says does not depend on the rows beside it. B rows, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

LEFT_OUT = float("-inf")
LIKELIEST = 128  # how many of the likeliest tokens top-p sorts first; a full sort follows only if they do not suffice


@dataclass(frozen=True)
class Picked:
    """What was picked for each of B rows."""

    ids: list[int]
    logprobs: list[float]
    """The natural-log probability of each id under the model itself, before penalty, temperature and filters."""


def pick(logits: Tensor, requests: Sequence[Request]) -> Picked:
    """Return the next token of each request, given logits [B, V]; draws once from each generator, unless greedy.

    Rows with the same settings are computed together; none depends on another.
    """
    ids = torch.empty(len(requests), dtype=torch.long, device=logits.device)
    groups: dict[Sampling, list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(replace(request.sampling, seed=None, stop=(), max_tokens=1), []).append(row)
    for sampling, rows in groups.items():
        mine = logits if len(groups) == 1 else logits[rows]
        ids[rows] = draw(mine, sampling, [requests[row] for row in rows])
    logprobs = logits.float().log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
    return Picked(ids.tolist(), logprobs.tolist())


def draw(logits: Tensor, sampling: Sampling, requests: Sequence[Request]) -> Tensor:
    """Return one id a row, int64 [B], for rows [B, V] of one sampling."""
    seen = said(requests, logits) if sampling.repetition_penalty != 1 else None
    if sampling.temperature == 0:
        return penalise(logits, sampling.repetition_penalty, seen).argmax(-1)
    scores = narrow(logits, sampling, seen)
    precise = torch.float32 if scores.device.type == "mps" else torch.float64
    heights = scores.softmax(-1, dtype=precise).cumsum(-1)
    draws = torch.tensor([[request.generator.random()] for request in requests], dtype=precise).to(scores.device)
    # Strictly below the last height, so that rounding can never land on a token that was left out.
    top = heights[:, -1:]
    marks = torch.minimum(draws * top, torch.nextafter(top, torch.zeros_like(top)))
    return torch.searchsorted(heights, marks, right=True).squeeze(-1).clamp_max(logits.shape[-1] - 1)


def said(requests: Sequence[Request], like: Tensor) -> Tensor:
    """Return bool [B, V], True for the tokens of each prompt and what followed it."""
    seen = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
    for row, request in enumerate(requests):
        seen[row, torch.tensor([*request.prompt, *request.ids], device=like.device)] = True
    return seen


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
