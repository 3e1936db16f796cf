"""The next-token loss: how surprised the model is by each token that it is trained on.

    loss = - sum over trained tokens of log p(token | what came before)

Sum and count are returned apart, so that a step divides once by the count of the whole batch, however the batch was
cut into parts or spread over devices (a mean of means weighs short rows too much).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.loss.cross_entropy import linear_cross_entropy
from sayso.model import Transformer
from sayso.model.segments import Segments

IGNORE = -100  # the target of a position that is not trained


def next_token_loss(model: Transformer, ids: Tensor, targets: Tensor, documents: Tensor) -> tuple[Tensor, int]:
    """Return the summed loss in nats and how many tokens were trained, for ids, targets, documents [B, T].

    The head is computed only where a target is trained, so a batch of conversations pays for its answers alone, and
    only a chunk of its logits exists at a time.
    """
    hidden = _hidden(model, ids, documents)
    trained = targets != IGNORE
    count = int(trained.sum())
    if count < trained.numel():
        hidden, targets = hidden[trained], targets[trained]
    return linear_cross_entropy(hidden.flatten(0, -2), model.unembed.weight, targets.flatten()), count


def token_logprobs(model: Transformer, ids: Tensor, targets: Tensor, documents: Tensor) -> Tensor:
    """Return log p of each target, [B, T], zero where nothing is trained."""
    hidden = _hidden(model, ids, documents)
    trained = targets != IGNORE
    chosen = F.cross_entropy(model.head(hidden[trained]).float(), targets[trained], reduction="none")
    return torch.zeros(ids.shape, dtype=torch.float32, device=ids.device).masked_scatter(trained, -chosen)


def _hidden(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    segments = Segments(documents)
    return model.hidden(ids, positions=segments.positions, mask=segments)
