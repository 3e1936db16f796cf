"""The key-value cache: what attention has already computed for the tokens of each row.

Rows are of unequal length and lie at the front, 0 .. len(lengths) - 1. Columns are positions: a row's token number p
is in column p, so that a row can grow, leave or come in without moving another. Memory is taken a block of columns at
a time. B rows in a pass, T new tokens, S columns seen, K key-value heads, D head size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sayso.model.config import ModelConfig

BLOCK = 64  # columns; capacity is a multiple of it


class Cache:
    """Keys and values of up to `rows` rows, for every layer of one model.

    Before each forward pass `extend` says which rows get how many tokens and gives the pass its positions and mask;
    the model's layers then call `update`.
    """

    def __init__(self, config: ModelConfig, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        self.config = config
        self.lengths: list[int] = []
        shape = (rows, config.kv_heads, 0, config.head_size)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.ids = torch.zeros((rows, config.context if config.ngrams else 0), dtype=torch.long, device=device)
        self._rows = torch.empty(0)  # of the pass that is going on: which rows, [B, 1]
        self._columns = torch.empty(0)  # and which columns of them it fills, [B, T]
        self._first, self._width, self._fresh = 0, 0, True

    def extend(self, first: int, counts: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Make room for `counts[i]` more tokens of row `first + i`; a row that is not there yet begins.

        Returns positions [B, T], T the largest count, and the mask [B, 1, T, S] of what each new token may see.
        Tokens are right-padded to T; what padding writes lies behind the row's length, where nothing looks and the
        next token overwrites. All rows fresh: the mask is None, because plain causal hides the padding already.
        """
        device, time = self.keys[0].device, max(counts)
        last = first + len(counts)
        assert first <= len(self.lengths), "rows lie side by side"
        assert last <= self.keys[0].shape[0], "no more rows than the cache was made for"
        self.lengths += [0] * (last - len(self.lengths))
        starts = self.lengths[first:last]
        self.lengths[first:last] = [start + count for start, count in zip(starts, counts, strict=True)]
        self._first, self._width, self._fresh = first, max(starts) + time, not any(starts)
        self._grow(self._width)
        self._rows = torch.arange(first, last, device=device)[:, None]
        self._columns = torch.tensor(starts).to(device)[:, None] + torch.arange(time, device=device)
        if self._fresh:
            return self._columns, None
        seen = torch.arange(self._width, device=device) <= self._columns[..., None]
        return self._columns, seen[:, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k, v [B, K, T, D] of the new tokens; return k, v [B, K, S, D] of all tokens of these rows."""
        last, keys, values = self._first + k.shape[0], self.keys[layer], self.values[layer]
        if self._fresh:
            keys[self._first : last, :, : k.shape[2]] = k
            values[self._first : last, :, : v.shape[2]] = v
            return k, v
        keys[self._rows, :, self._columns] = k.transpose(1, 2)
        values[self._rows, :, self._columns] = v.transpose(1, 2)
        return keys[self._first : last, :, : self._width], values[self._first : last, :, : self._width]

    def recall(self, ids: Tensor, reach: int) -> Tensor:
        """Keep the new ids [B, T]; return them after the `reach` ids before each row's first, [B, reach + T].

        Before a row's start anything may stand.
        """
        columns = self._columns.clamp_max(self.ids.shape[1] - 1)  # padding may lie beyond the context
        self.ids[self._rows, columns] = ids
        before = self._columns[:, :1] + torch.arange(-reach, 0, device=ids.device)
        return torch.cat((self.ids[self._rows, before.clamp_min(0)], ids), dim=1)

    def drop(self, row: int) -> None:
        """Remove a row: the last row takes its place, so that one row is copied and none is left in between."""
        last, length = len(self.lengths) - 1, self.lengths[-1]
        if row != last:
            for part in (*self.keys, *self.values):
                part[row, :, :length] = part[last, :, :length]
            self.ids[row] = self.ids[last]
            self.lengths[row] = length
        self.lengths.pop()

    def _grow(self, columns: int) -> None:
        """Take memory for `columns`, by half more than there is at least, so that copying stays linear."""
        held = self.keys[0].shape[2]
        if columns <= held:
            return
        wanted = max(columns, min(held * 3 // 2, self.config.context))
        capacity = -(-wanted // BLOCK) * BLOCK
        for parts in (self.keys, self.values):
            for layer, old in enumerate(parts):
                # Zeros, not empty: a column that is masked still meets a weight of 0, and 0 times NaN is NaN.
                parts[layer] = old.new_zeros(*old.shape[:2], capacity, old.shape[3])
                parts[layer][:, :, :held] = old
