"""Log-probabilities of given tokens at a temperature, and the entropy of the distributions.

Takes hidden states at trained positions. One chunk of logits exists at a time: the forward pass discards it, and the
backward pass recomputes it (Chen et al. 2016). N positions, C width, V vocabulary.
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
    """Per position [B, T], zero where nothing is trained."""

    logprobs: Tensor
    """log p of the target at the requested temperature."""
    entropy: Tensor
    """Entropy of that distribution, in nats."""
    plain: Tensor
    """log p of the target at temperature 1, without gradient: what a sampler reports."""


def target_logprobs(
    model: Transformer,
    ids: Tensor,
    targets: Tensor,
    documents: Tensor,
    temperature: float = 1.0,
    *,
    learn_entropy: bool = False,
) -> TokenLogprobs:
    """Return log-probabilities of the targets and entropies, for ids, targets, documents [B, T].

    Gradients flow through the log-probabilities, and through entropies with `learn_entropy`. Padding and other rows
    change nothing but rounding.
    """
    return target_logprobs_at(
        model, hidden_states(model, ids, documents), targets, temperature, learn_entropy=learn_entropy
    )


def target_logprobs_at(
    model: Transformer, hidden: Tensor, targets: Tensor, temperature: float = 1.0, *, learn_entropy: bool = False
) -> TokenLogprobs:
    """Return the same for existing hidden states [B, T, C] (a value head reads them too)."""
    targets = moved(targets, hidden.device)
    trained = targets != IGNORE
    states, wanted = hidden[trained], targets[trained]
    rows = max(1, CHUNK.get(hidden.device.type, CHUNK["cpu"]) // model.config.vocab_size)
    again = torch.is_grad_enabled() and len(states) > rows  # a single chunk can be kept
    parts = [
        checkpoint(_chunk, model, part, ids, temperature, learn_entropy, use_reentrant=False)
        if again
        else _chunk(model, part, ids, temperature, learn_entropy)
        for part, ids in zip(states.split(rows), wanted.split(rows), strict=True)
    ]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    blank = torch.zeros(targets.shape, dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
    return TokenLogprobs(*(blank.masked_scatter(trained, column) for column in columns))


def _chunk(
    model: Transformer, states: Tensor, wanted: Tensor, temperature: float, learn_entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, entropies and plain log-probabilities [N] of states [N, C]."""
    logits = model.head(states)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logs = (logits / temperature if temperature != 1 else logits).log_softmax(-1)
    chosen = logs.gather(1, wanted[:, None])[:, 0]
    with torch.set_grad_enabled(learn_entropy and torch.is_grad_enabled()):
        entropy = -(logs.exp() * logs).sum(-1)
    if temperature == 1:
        return chosen, entropy, chosen.detach()
    with torch.no_grad():
        plain = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(-1)
    return chosen, entropy, plain
