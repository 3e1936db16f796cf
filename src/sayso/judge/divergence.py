"""How far a model is from another one: the Kullback-Leibler divergence per token on given conversations.

    KL(p, q) = sum over the vocabulary of p log(p / q), at each trained token, given what was written before it

It is exact, over the whole vocabulary; both models must have the same tokenizer. The sampled unit is the conversation,
so the standard error is that of a ratio.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sayso.batch.chat import ChatBatches, MaskedIds
from sayso.judge.statistics.estimate import Estimate, ratio, without_error
from sayso.loss.next_token import IGNORE
from sayso.model import Transformer
from sayso.model.packed import hidden_states

_AT_ONCE = 64  # positions whose distributions are in memory


def token_divergence(
    model: Transformer, reference: Transformer, conversations: Sequence[MaskedIds], row_tokens: int
) -> Estimate:
    """Return the mean divergence of a model from a reference in nats per trained token, of at most `row_tokens` ids."""
    if not conversations:
        return without_error(float("nan"), 0)
    rows = ChatBatches(conversations, 1, row_tokens, 0)
    sums, counts = np.zeros(len(conversations)), np.zeros(len(conversations))
    with torch.inference_mode():
        for step in range(rows.rows_per_epoch):
            batch = rows.batch(step)
            trained = batch.targets != IGNORE
            states = [
                hidden_states(one, batch.ids, batch.documents)[trained.to(one.device)] for one in (model, reference)
            ]
            parts = zip(*(state.split(_AT_ONCE) for state in states), strict=True)
            found = torch.cat([_divergence(model.head(own), reference.head(other)) for own, other in parts])
            np.add.at(sums, batch.documents[trained].numpy(), found.double().cpu().numpy())
            np.add.at(counts, batch.documents[trained].numpy(), 1)
    return ratio(sums, counts)


def _divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return the divergence at each position, [N], for logits [N, V]."""
    own, other = (one.float().log_softmax(-1) for one in (logits, reference.to(logits.device)))
    return (own.exp() * (own - other)).sum(-1)
