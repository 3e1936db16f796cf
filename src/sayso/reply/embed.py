"""Texts as vectors: ids in, the normalized mean of the model's last hidden states out. N texts, C width.

A language model is not trained to embed: vectors are close when the model would continue the texts alike.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sayso.model import Transformer


@torch.inference_mode()
def embed(model: Transformer, texts: Sequence[Sequence[int]], size: int | None = None) -> Tensor:
    """Return [N, size]: the first `size` (all, if None) mean hidden states of each text, scaled to length 1."""
    rows = [torch.tensor(ids, device=model.device) for ids in texts]
    padded = pad_sequence(rows, batch_first=True)  # on the right, invisible to causal attention
    real = pad_sequence([torch.ones_like(row, dtype=torch.float32) for row in rows], batch_first=True)
    means = (model.hidden(padded).float() * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return F.normalize(means[:, :size], dim=-1)
