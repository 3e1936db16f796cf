"""Picking the next token: logits [B, V] of B rows enter, one id a row leaves.

The order is that of transformers and vLLM, with the later inventions in their places. On the logits (`edits.py`):
constraint, allowed_ids, logit_bias, banned, min_tokens, repetition penalty, presence and frequency penalty, DRY. Then,
unless the row is greedy (`filters.py`): temperature, top-k, typical, top-p, min-p, XTC, one draw. What is reported
(logprobs, tops) is the model's own distribution, before all of it. (llama.cpp puts temperature last: the same numbers
give other text there.) A row's token is a function of its logits, settings, history and generator, to the bit: rows of
any settings share a batch and none feels another. B rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.sample.edits import edit
from sayso.sample.filters import sampling_weights, total
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling


@dataclass(frozen=True)
class Picked:
    """The picked tokens of B rows."""

    ids: list[int]
    logprobs: list[float]
    """Natural log-probability of each id under the model itself, before edits, temperature and filters."""
    tops: list[dict[int, float]]
    """The `sampling.logprobs` likeliest ids under the model itself, likeliest first; empty unless requested."""


def pick(logits: Tensor, requests: Sequence[Request]) -> Picked:
    """Return the next token of each request, given logits [B, V]; draws once from each generator, unless greedy.

    Of a constraint only `allowed()` is called. Raises `UserError` for a setting with an id beyond the vocabulary, and
    `NothingLeftError` for a request without a possible next token; no generator has been used then.
    """
    ids = by_kind(edit(logits, requests), requests, greedy=_likeliest, drawn=_drawn)
    logprobs = logits.log_softmax(-1, dtype=torch.float32)  # one fused pass, faster than log-sum-exp and a gather
    own = logprobs.gather(-1, ids[:, None])[:, 0]
    return Picked(ids.tolist(), own.tolist(), tops(logprobs, [request.sampling.logprobs or 0 for request in requests]))


def distribution(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    """Return the probabilities [B, V], float32, from which `pick` draws, given logits [B, V]; draws from no generator.

    A greedy row has 1 at its token. A request's history is its prompt and its `ids` as they are now: they may be
    guesses of a speculation, to be taken back. Raises as `pick` does.
    """
    return by_kind(edit(logits, requests), requests, greedy=_certain, drawn=_chances)


def draw(weights: Tensor, requests: Sequence[Request]) -> Tensor:
    """Return one id a row, int64 [B], each as often as its share of the row's weights [B, V]; draws once a generator.

    By inversion: the first id at which the running sum passes the drawn share of the total.
    """
    precise = torch.float32 if weights.device.type == "mps" else torch.float64
    heights = weights.to(precise, copy=True).cumsum_(-1)
    draws = torch.tensor([[request.generator.random()] for request in requests], dtype=precise)
    # Strictly below the last height, so that rounding can never land on a token that was left out.
    top = heights[:, -1:]
    marks = torch.minimum(draws.to(weights.device) * top, torch.nextafter(top, torch.zeros_like(top)))
    return torch.searchsorted(heights, marks, right=True).squeeze(-1).clamp_max_(weights.shape[-1] - 1)


def by_kind(
    logits: Tensor,
    requests: Sequence[Request],
    greedy: Callable[[Tensor], Tensor],
    drawn: Callable[[Tensor, Sequence[Request]], Tensor],
) -> Tensor:
    """Return [B, ...], what `greedy` gives for the rows at temperature 0 and `drawn` for the others, row by row."""
    cold = [request.sampling.temperature == 0 for request in requests]
    if all(cold):
        return greedy(logits)
    if not any(cold):
        return drawn(logits, requests)
    first = [row for row, is_cold in enumerate(cold) if is_cold]
    second = [row for row, is_cold in enumerate(cold) if not is_cold]
    parts = (greedy(logits[first]), drawn(logits[second], [requests[row] for row in second]))
    return torch.cat(parts)[torch.tensor(first + second).argsort().to(logits.device)]


def _likeliest(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def _certain(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits, dtype=torch.float32).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)


def _drawn(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    return draw(sampling_weights(logits, shared(requests)), requests)


def _chances(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    weights = sampling_weights(logits, shared(requests))
    return weights.div_(total(weights))


def shared(requests: Sequence[Request]) -> list[Sampling]:
    """Return the sampling of each request, or the only one where they all share it."""
    first = requests[0].sampling
    samplings = [request.sampling for request in requests]
    return [first] if all(sampling is first for sampling in samplings) else samplings


def tops(logprobs: Tensor, asked: Sequence[int]) -> list[dict[int, float]]:
    """Return the likeliest ids of each row of log-probabilities [B, V], as many as are asked for."""
    if not any(asked):
        return [{} for _ in asked]
    best = logprobs.topk(min(max(asked), logprobs.shape[-1]))
    return [
        dict(zip(ids[:count], values[:count], strict=True))
        for ids, values, count in zip(best.indices.tolist(), best.values.tolist(), asked, strict=True)
    ]
