"""Log-probabilities of target tokens at a temperature, and the entropy of the distributions.

Computes the logits of trained positions in chunks, which the forward pass discards and the backward pass recomputes
(Chen et al. 2016). B rows, T time, N positions, C width, V vocabulary size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sayso.base.device import moved
from sayso.loss.cross_entropy import CHUNK
from sayso.loss.next_token import IGNORE
from sayso.model import Transformer
from sayso.model.packed import hidden_states


class TokenLogprobs(NamedTuple):
    """Values per position, [B, T], zero at untrained ones."""

    logprobs: Tensor
    """log p of the target at the requested temperature."""
    entropy: Tensor
    """Entropy of that distribution, in nats."""
    plain: Tensor
    """log p of the target at temperature 1, without gradient, as a sampler reports it."""


def target_logprobs(
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    documents: Tensor,
    temperature: float = 1.0,
    *,
    learn_entropy: bool = False,
) -> TokenLogprobs:
    """Return log-probabilities of the targets, and entropies, for ids, targets and document indices [B, T].

    Gradients flow through the log-probabilities and, with `learn_entropy`, through the entropies. Padding and other
    rows affect only rounding.
    """
    return target_logprobs_at(
        model, hidden_states(model, ids, documents), targets, temperature, learn_entropy=learn_entropy
    )


def target_logprobs_at(
    model: Transformer, hidden: Tensor, targets: Tensor, temperature: float = 1.0, *, learn_entropy: bool = False
) -> TokenLogprobs:
    """Return the same for hidden states [B, T, C] computed before, which a value head can share."""
    targets = moved(targets, hidden.device)
    trained = targets != IGNORE
    rows = max(1, CHUNK.get(hidden.device.type, CHUNK["cpu"]) // model.config.vocab_size)
    states, ids = hidden[trained].split(rows), targets[trained].split(rows)
    recompute = torch.is_grad_enabled() and len(states) > 1  # a single chunk can be kept
    parts = [
        checkpoint(_chunk, model, *chunk, temperature, learn_entropy, use_reentrant=False)
        if recompute
        else _chunk(model, *chunk, temperature, learn_entropy)
        for chunk in zip(states, ids, strict=True)
    ]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    blank = torch.zeros(targets.shape, dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
    return TokenLogprobs(*(blank.masked_scatter(trained, column) for column in columns))


def _chunk(
    model: Transformer, states: Tensor, ids: Tensor, temperature: float, learn_entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, entropies and plain log-probabilities [N] for states [N, C] and target ids [N]."""
    logits = model.head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logs = (logits / temperature if temperature != 1 else logits).log_softmax(-1)
    chosen = logs.gather(1, ids[:, None])[:, 0]
    with torch.set_grad_enabled(learn_entropy and torch.is_grad_enabled()):
        entropy = -(logs.exp() * logs).sum(-1)
    if temperature == 1:
        return chosen, entropy, chosen.detach()
    with torch.no_grad():
        plain = logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(-1)
    return chosen, entropy, plain
