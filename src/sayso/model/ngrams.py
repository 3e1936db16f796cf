"""N-gram embeddings: an additional embedding of the last two, three, ... tokens.

    x_t = embed(id_t) + sum over orders n of table_n[hash(id_{t-n+1}, ..., id_t) mod rows]

Tables of hashed n-grams (Huang et al. 2013; Clark et al. 2022, CANINE; bigrams in modded-nanogpt 2026) give a small
model n-gram statistics for the cost of a lookup; several n-grams may share a row. B batch, T time, C width.
"""

import torch
from torch import Tensor, nn

from sayso.model.config import ModelConfig
from sayso.model.embedding import embedding

FACTOR = 0x9E3779B1  # odd, near 2^32 divided by the golden ratio: spreads adjacent keys (Knuth, vol. 3, 6.4)
_BITS = 0x7FFFFFFF


class NGramEmbedding(nn.Module):
    """One table of hashed n-grams for each order in the config."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.orders, self.rows, self.padding = config.ngrams, config.ngram_rows, config.vocab_size
        self.tables = nn.ModuleList(embedding(config.ngram_rows, config.width) for _ in config.ngrams)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Return [B, T, C] for the last T of `ids` [B, reach + T], at positions [B or 1, T] of their documents.

        Positions before a document's start count as a padding id outside the vocabulary.
        """
        time = positions.shape[1]
        first = ids.shape[1] - time
        x = torch.zeros((), device=ids.device)
        code, back = ids[:, first:], 0
        for order, table in sorted(zip(self.orders, self.tables, strict=True), key=lambda pair: pair[0]):
            while back < order - 1:
                back += 1
                before = ids[:, first - back : first - back + time]
                before = torch.where(positions >= back, before, self.padding)
                code = ((code * FACTOR) & _BITS) ^ (before + 1)
            mixed = (code * FACTOR) & _BITS
            x = x + table((mixed ^ (mixed >> 15)) % self.rows)
        return x
