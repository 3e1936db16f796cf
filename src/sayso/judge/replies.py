"""Loss on held-out conversations, in nats per trained token.

The trained tokens of each conversation count, including the end of each reply. The sampled unit is the conversation, so
the standard error is that of a ratio.
"""

from collections.abc import Sequence

import numpy as np
import torch

from sayso.batch.chat import ChatBatches, MaskedIds
from sayso.judge.statistics.estimate import Estimate, Floats, ratio
from sayso.loss.next_token import IGNORE, token_logprobs
from sayso.model import Transformer


def reply_loss(model: Transformer, conversations: Sequence[MaskedIds], row_tokens: int) -> Estimate:
    """Return the nats per trained token over conversations of at most `row_tokens` ids."""
    return ratio(*reply_nats(model, conversations, row_tokens))


def reply_nats(model: Transformer, conversations: Sequence[MaskedIds], row_tokens: int) -> tuple[Floats, Floats]:
    """Return the nats of each conversation's trained tokens, [N], and their number, [N]."""
    rows = ChatBatches(conversations, 1, row_tokens, 0)
    nats, counts = np.zeros(len(conversations)), np.zeros(len(conversations))
    with torch.inference_mode():
        for step in range(rows.rows_per_epoch):
            batch = rows.batch(step)
            logprobs = token_logprobs(model, batch.ids, batch.targets, batch.documents).double().cpu().numpy()
            trained = (batch.targets != IGNORE).numpy()
            np.subtract.at(nats, batch.documents.numpy()[trained], logprobs[trained])
            np.add.at(counts, batch.documents.numpy()[trained], 1)
    return nats, counts
