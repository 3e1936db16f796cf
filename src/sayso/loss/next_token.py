"""The next-token loss: the negative log-likelihood of each trained token.

        loss = - sum over trained tokens of log p(token | previous tokens)

Sum and count are returned separately, so that a step divides once by the count of the whole batch, however the batch
is split over devices (a mean of means would overweight short rows).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.device import moved
from sayso.batch.batch import Batch
from sayso.loss.cross_entropy import linear_cross_entropy
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.model.packed import hidden_states

IGNORE = -100  # target of an untrained position


def next_token_loss(model: Transformer, ids: Tensor, targets: Tensor, documents: Tensor) -> tuple[Tensor, int]:
    """Return the summed loss in nats and the number of trained tokens, for ids, targets and document indices [B, T].

    Logits are computed only at trained positions, one chunk at a time. The batch may stay on the CPU, whatever the
    model's device: counting trained tokens then needs no synchronization.
    """
    hidden, targets = hidden_states(model, ids, documents).flatten(0, 1), targets.flatten()
    trained = (targets != IGNORE).nonzero()[:, 0]
    if len(trained) < len(targets):
        hidden, targets = hidden.index_select(0, moved(trained, hidden.device)), targets[trained]
    targets = moved(targets, hidden.device)
    return linear_cross_entropy(hidden, model.unembed.weight, targets, model.config.logit_cap), len(trained)


def token_logprobs(model: Transformer, ids: Tensor, targets: Tensor, documents: Tensor) -> Tensor:
    """Return log p of each target, [B, T], zero at untrained positions."""
    hidden = hidden_states(model, ids, documents)
    targets = targets.to(hidden.device)
    trained = targets != IGNORE
    chosen = F.cross_entropy(model.head(hidden[trained]).float(), targets[trained], reduction="none")
    return torch.zeros(ids.shape, dtype=torch.float32, device=hidden.device).masked_scatter(trained, -chosen)


def batch_loss(model: Transformer, batch: Batch) -> Term:
    """Return the next-token loss of a batch as a `Term`."""
    return Term(*next_token_loss(model, batch.ids, batch.targets, batch.documents), batch.ids.numel())
