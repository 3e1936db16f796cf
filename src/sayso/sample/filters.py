"""From edited logits to sampling weights: temperature, top-k, typical, top-p, min-p, XTC, in this order.

Takes logits [B, V], returns weights [B, V]: a row's probabilities up to a factor, 0 for excluded tokens. A filter sees
only the rows that request it, and computes each row independently. Sums are cumulative sums, which,
unlike plain sums, add up each row in the same order whatever the batch. B rows, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sayso.sample.sampling import Sampling

LIKELIEST = (128, 4096)  # numbers of likeliest tokens that top-p sorts before it sorts all
MIN_TEMPERATURE = torch.finfo(torch.float32).tiny  # smaller temperatures are 0 in float32; this one is already greedy
EXCLUDED = float("-inf")

Filter = Callable[[Tensor, Sequence[Sampling]], None]
"""Changes scores or weights [B, V] in place, given the sampling of each row, or one shared by all rows."""


def sampling_weights(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Return weights [B, V], float32, given the sampling of each row, or one shared by all rows; no row is greedy."""
    temperatures = column([max(sampling.temperature, MIN_TEMPERATURE) for sampling in samplings], logits.device)
    # The likeliest becomes 0: nothing overflows.
    scores = (logits - logits.amax(-1, keepdim=True).float()).div_(temperatures)
    apply(keep_top_k, scores, samplings, [0 < sampling.top_k < scores.shape[-1] for sampling in samplings])
    apply(keep_typical, scores, samplings, [sampling.typical_p < 1 for sampling in samplings])
    weights = scores.softmax(-1)
    apply(keep_nucleus, weights, samplings, [sampling.top_p < 1 for sampling in samplings])
    apply(keep_min_p, weights, samplings, [sampling.min_p > 0 for sampling in samplings])
    apply(exclude_top, weights, samplings, [sampling.xtc_probability > 0 for sampling in samplings])
    return weights


def apply(change: Filter, values: Tensor, samplings: Sequence[Sampling], enabled: Sequence[bool]) -> None:
    """Apply a filter to the rows for which it is enabled."""
    if all(enabled):
        change(values, samplings)
    elif any(enabled):
        rows = [row for row, on in enumerate(enabled) if on]
        part = values[rows]
        change(part, [samplings[row] for row in rows])
        values[rows] = part


def column(settings: Sequence[float], device: torch.device) -> Tensor:
    """Return one setting per row, float32 [B, 1].

    A tensor even if all rows share it: some devices divide by a scalar with different rounding, and the last digit must
    not depend on other rows.
    """
    return torch.tensor(settings, dtype=torch.float32).unsqueeze(-1).to(device, non_blocking=True)


def keep_top_k(scores: Tensor, samplings: Sequence[Sampling]) -> None:
    """Keep the k likeliest tokens of each row, and ties with the last of them."""
    counts = [sampling.top_k for sampling in samplings]
    ranked = scores.topk(max(counts)).values
    last = column(counts, scores.device).long().expand(len(scores), 1) - 1
    scores.masked_fill_(scores < ranked.gather(-1, last), EXCLUDED)


def keep_typical(scores: Tensor, samplings: Sequence[Sampling]) -> None:
    """Keep the fewest tokens with surprisal nearest the entropy that have mass `typical_p`."""
    logprobs = scores.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).nan_to_num_(nan=0.0).cumsum(-1)[:, -1:]  # 0 * -inf counts as 0
    distance = (-logprobs - entropy).abs_()
    ranked, order = distance.sort(-1)
    reached = logprobs.exp_().gather(-1, order).cumsum(-1)
    last = (reached < column([sampling.typical_p for sampling in samplings], scores.device)).sum(-1, keepdim=True)
    edge = ranked.gather(-1, last.clamp_max_(scores.shape[-1] - 1))
    scores.masked_fill_(distance > edge, EXCLUDED)


def keep_nucleus(weights: Tensor, samplings: Sequence[Sampling]) -> None:
    """Keep the nucleus, the fewest likeliest tokens with mass `top_p`, of weights that sum to 1.

    Sorting a whole vocabulary is slow and seldom needed, so the likeliest tokens are tried first.
    """
    most = weights.shape[-1]
    top_p = column([sampling.top_p for sampling in samplings], weights.device).expand(len(weights), 1)
    edge, beyond = nucleus_edge(weights, top_p, min(LIKELIEST[0], most))
    for count in (*LIKELIEST[1:], most):
        rows = beyond.nonzero()[:, 0]
        if not len(rows):
            break
        edge[rows], beyond[rows] = nucleus_edge(weights[rows], top_p[rows], min(count, most))
    weights.masked_fill_(weights < edge, 0)


def nucleus_edge(weights: Tensor, top_p: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the least weight [B, 1] in the nucleus among the `count` likeliest tokens, and if it may extend [B].

    A token belongs to the nucleus while the likelier ones have a mass below `top_p`.
    """
    ranked = weights.topk(count).values
    inside = ranked.cumsum(-1) - ranked < top_p
    last = inside.sum(-1, keepdim=True).clamp_min_(1) - 1
    return ranked.gather(-1, last), inside[:, -1].clone()


def keep_min_p(weights: Tensor, samplings: Sequence[Sampling]) -> None:
    """Keep tokens at least `min_p` times as likely as the likeliest."""
    least = weights.amax(-1, keepdim=True) * column([sampling.min_p for sampling in samplings], weights.device)
    weights.masked_fill_(weights < least, 0)


def exclude_top(weights: Tensor, samplings: Sequence[Sampling]) -> None:
    """Exclude the top choices (XTC): of the tokens that reach the threshold, all but the least likely, if 2 or more.

    This happens with `xtc_probability`, so the weights are the mixture of both cases: one draw from the
    mixture is equivalent to a coin flip and a draw from its side.
    """
    weights.div_(total(weights))
    above = weights >= column([sampling.xtc_threshold for sampling in samplings], weights.device)
    least = weights.masked_fill(~above, 2.0).argmin(-1, keepdim=True)
    out = above.scatter(-1, least, False)  # empty if only one token reaches the threshold
    without = weights.masked_fill(out, 0)
    without.div_(total(without))
    chance = column([sampling.xtc_probability for sampling in samplings], weights.device)
    weights.lerp_(without, chance.expand_as(weights))


def total(weights: Tensor) -> Tensor:
    """Return the sum of each row, float32 [B, 1]."""
    return weights.cumsum(-1)[:, -1:]
