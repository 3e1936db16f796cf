"""Picks the next token: takes logits [B, V], returns one id per row.

The order is that of transformers and vLLM, extended by later methods. On the logits (`edits.py`): constraint,
allowed_ids, logit_bias, banned, min_tokens, repetition penalty, presence and frequency penalty, DRY. Then, unless the
row is greedy (`filters.py`): temperature, top-k, typical, top-p, min-p, XTC, one draw. The reported values (logprobs,
tops) are those of the model's own distribution, before all of these. (llama.cpp applies the temperature last: the same
settings give other text there.) A row's token depends only on its logits, settings, history and generator, bitwise:
rows with different settings share a batch. B rows, V vocabulary.
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

    Constraints are not advanced. Raises `UserError` for a setting with an id beyond the vocabulary, and
    `NothingLeftError` for a request without a possible next token; then no generator was used.
    """
    ids = by_kind(edit(logits, requests), requests, greedy=_argmax, drawn=_sample)
    logprobs = logits.log_softmax(-1, dtype=torch.float32)  # one fused pass, faster than log-sum-exp and a gather
    own = logprobs.gather(-1, ids[:, None])[:, 0]
    return Picked(ids.tolist(), own.tolist(), tops(logprobs, [request.sampling.logprobs or 0 for request in requests]))


def distribution(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    """Return the probabilities [B, V], float32, from which `pick` draws, given logits [B, V]; draws from no generator.

    A greedy row has 1 at its token. A request's history is its prompt and its current `ids`, possibly with proposals
    that are removed later. Errors as in `pick`.
    """
    return by_kind(edit(logits, requests), requests, greedy=_one_hot, drawn=_probabilities)


def draw(weights: Tensor, requests: Sequence[Request]) -> Tensor:
    """Return one id per row, int64 [B], with probability proportional to its weight [B, V]; draws once per generator.

    By inversion: the first id at which the cumulative sum exceeds the drawn fraction of the total.
    """
    precise = torch.float32 if weights.device.type == "mps" else torch.float64
    sums = weights.to(precise, copy=True).cumsum_(-1)
    draws = torch.tensor([[request.generator.random()] for request in requests], dtype=precise)
    # Strictly below the total, so that rounding never selects an excluded token.
    top = sums[:, -1:]
    marks = torch.minimum(draws.to(weights.device) * top, torch.nextafter(top, torch.zeros_like(top)))
    return torch.searchsorted(sums, marks, right=True).squeeze(-1).clamp_max_(weights.shape[-1] - 1)


def by_kind(
    logits: Tensor,
    requests: Sequence[Request],
    greedy: Callable[[Tensor], Tensor],
    drawn: Callable[[Tensor, Sequence[Request]], Tensor],
) -> Tensor:
    """Return [B, ...]: `greedy` applied to the rows at temperature 0, `drawn` to the others."""
    is_greedy = [request.sampling.temperature == 0 for request in requests]
    if all(is_greedy):
        return greedy(logits)
    if not any(is_greedy):
        return drawn(logits, requests)
    first = [row for row, yes in enumerate(is_greedy) if yes]
    second = [row for row, yes in enumerate(is_greedy) if not yes]
    parts = (greedy(logits[first]), drawn(logits[second], [requests[row] for row in second]))
    return torch.cat(parts)[torch.tensor(first + second).argsort().to(logits.device)]


def _argmax(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def _one_hot(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits, dtype=torch.float32).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)


def _sample(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    return draw(sampling_weights(logits, shared(requests)), requests)


def _probabilities(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    weights = sampling_weights(logits, shared(requests))
    return weights.div_(total(weights))


def shared(requests: Sequence[Request]) -> list[Sampling]:
    """Return the sampling of each request, or a single one if all requests share it."""
    first = requests[0].sampling
    samplings = [request.sampling for request in requests]
    return [first] if all(sampling is first for sampling in samplings) else samplings


def tops(logprobs: Tensor, counts: Sequence[int]) -> list[dict[int, float]]:
    """Return the `counts[row]` likeliest ids of each row of log-probabilities [B, V], likeliest first."""
    if not any(counts):
        return [{} for _ in counts]
    best = logprobs.topk(min(max(counts), logprobs.shape[-1]))
    return [
        dict(zip(ids[:count], values[:count], strict=True))
        for ids, values, count in zip(best.indices.tolist(), best.values.tolist(), counts, strict=True)
    ]
