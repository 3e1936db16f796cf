"""Token shift: the embeddings of the last few tokens, added with learned weights.

    x_t = embed(id_t) + sum over k of w_k * embed(id_{t-k})

With the neighbors of a token in its own place, one layer of attention binds what stands side by side, such as a
number to its noun (token shift: Peng et al. 2023, RWKV; at every layer: Allen-Zhu 2025, Canon layers). B batch, T time,
C width.
"""

import torch
from torch import Tensor, nn

from sayso.model.config import ModelConfig


class TokenShift(nn.Module):
    """One weight per channel for each of the last `config.shift` tokens, `weight` [shift, C]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.shift, config.width))

    def forward(self, embedded: Tensor, positions: Tensor) -> Tensor:
        """Return [B, T, C] for embedded tokens [B, reach + T, C], the last T at positions [B or 1, T].

        What precedes a document's start counts as zeros.
        """
        time = positions.shape[1]
        first = embedded.shape[1] - time
        x = torch.zeros((), device=embedded.device, dtype=embedded.dtype)
        for back, weight in enumerate(self.weight, 1):
            before = embedded[:, first - back : first - back + time]
            x = x + weight * before.masked_fill((positions < back)[..., None], 0)
        return x
