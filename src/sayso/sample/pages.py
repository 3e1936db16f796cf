"""The paged key-value cache: the keys and values of each row's tokens, in blocks of positions.

A row has a block table: its token at position p is in block `table[p // BLOCK]` at offset p % BLOCK (Kwon et al.
2023). Rows can share blocks, and grow without moving. B rows in a pass, T new tokens, S columns seen, K key-value
heads, D head size, N blocks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model.config import ModelConfig
from sayso.sample.blocks import BLOCK, blocks_for


class Pages:
    """The memory of N blocks for every layer of one model, plus one, number N, for discarded values.

    With 8 bits, a token's keys and values are integers, with a scale per head: max |x| / 127.
    """

    def __init__(
        self, config: ModelConfig, count: int, device: torch.device, dtype: torch.dtype, bits: int = 0
    ) -> None:
        if bits not in (0, 8):
            raise UserError(f"Keys and values are stored with 8 bits, or unquantized (0); got {bits}.")
        self.config, self.count, self.dtype, self.bits = config, count, dtype, bits
        # Not initialized: unused blocks take no memory on a CPU. `clear` fills a block when it is allocated.
        shape = (config.layers, 2, count + 1, BLOCK, config.kv_heads, config.head_size)
        self._memory = torch.empty(shape, device=device, dtype=torch.int8 if bits else dtype)
        self._scales = torch.empty(shape[:-1] if bits else (config.layers, 2, 0), device=device, dtype=dtype)
        self.keys: list[Tensor] = [layer[0] for layer in self._memory]
        """Per layer, [N + 1, BLOCK, K, D], contiguous."""
        self.values: list[Tensor] = [layer[1] for layer in self._memory]
        self.key_scales: list[Tensor] = [layer[0] for layer in self._scales]
        """Per layer, [N + 1, BLOCK, K], contiguous; empty unless 8 bits."""
        self.value_scales: list[Tensor] = [layer[1] for layer in self._scales]
        self.gathered = [self._memory.new_empty(0), self._memory.new_empty(0)]
        """Buffers for the gathered keys and values of a pass; reused, since new memory costs more."""
        self.ids = torch.zeros((count + 1 if config.reach else 0, BLOCK), dtype=torch.long, device=device)
        """The token ids [N + 1, BLOCK], for models whose embedding depends on previous tokens."""

    def clear(self, blocks: Sequence[int]) -> None:
        """Fill blocks with zeros: a masked position still gets a weight of 0, and 0 times NaN is NaN."""
        self._memory[:, :, blocks] = 0
        if self.bits:
            self._scales[:, :, blocks] = 0

    def copy(self, source: int, target: int) -> None:
        """Copy a block to another."""
        self._memory[:, :, target] = self._memory[:, :, source]
        if self.bits:
            self._scales[:, :, target] = self._scales[:, :, source]
        if len(self.ids):
            self.ids[target] = self.ids[source]

    def __len__(self) -> int:
        return self.count


def bytes_per_token(config: ModelConfig, dtype: torch.dtype, bits: int = 0) -> int:
    """Return the bytes of the keys and values of one token."""
    each = config.head_size + dtype.itemsize if bits else config.head_size * dtype.itemsize
    return 2 * config.layers * config.kv_heads * each


class Window:
    """The cache as a model's layers see it in one pass: B rows with new tokens, right-padded to T.

    `positions` [B, T] and `mask` [B, 1, T, S] are passed to the model with it. If all rows are new, the mask is None:
    causal masking hides the padding, and nothing is read back.
    """

    def __init__(
        self, pages: Pages, starts: Sequence[int], counts: Sequence[int], tables: Sequence[Sequence[int]]
    ) -> None:
        device, time = pages.keys[0].device, max(counts)
        self._pages, self._fresh = pages, not any(starts)
        width = max(start + count for start, count in zip(starts, counts, strict=True))
        depth = blocks_for(width)
        table = torch.tensor([[*row[:depth], *[row[0]] * (depth - len(row))] for row in tables])  # padded: any block
        begin = torch.tensor(starts)[:, None]
        columns = begin + torch.arange(time)
        real = torch.arange(time) < torch.tensor(counts)[:, None]
        self._all_real = bool(real.all())
        places = table.gather(1, (columns // BLOCK).clamp_max(depth - 1)) * BLOCK + columns % BLOCK
        self._slots = places[real].to(device)  # [n]: where each new token is stored, row after row
        self._real = real.to(device)
        self._table, self._width = table.to(device), width
        self.positions = columns.to(device)
        self.mask = None if self._fresh else (torch.arange(width) <= columns[..., None])[:, None].to(device)

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [B, K, T, D] of the new tokens; return k, v [B, K, S, D] of all tokens of these rows."""
        pages = self._pages
        self._store(pages.keys[layer], pages.key_scales[layer], k)
        self._store(pages.values[layer], pages.value_scales[layer], v)
        if self._fresh and not pages.bits:  # with 8 bits, new tokens too are read back as stored
            return k, v
        return (
            self._load(0, pages.keys[layer], pages.key_scales[layer]),
            self._load(1, pages.values[layer], pages.value_scales[layer]),
        )

    def recall(self, ids: Tensor, reach: int) -> Tensor:
        """Store the new ids [B, T]; return them after the `reach` ids before each row's first, [B, reach + T].

        Ids before a row's start are undefined.
        """
        stored = self._pages.ids.view(-1)
        stored[self._slots] = ids.flatten() if self._all_real else ids[self._real]
        before = (self.positions[:, :1] + torch.arange(-reach, 0, device=ids.device)).clamp_min(0)
        places = self._table.gather(1, before // BLOCK) * BLOCK + before % BLOCK
        return torch.cat((stored[places], ids), dim=1)

    def _store(self, pages: Tensor, scales: Tensor, new: Tensor) -> None:
        new = new.transpose(1, 2)
        new = new.flatten(0, 1) if self._all_real else new[self._real]
        if self._pages.bits:
            scale = new.abs().amax(-1).clamp_min(torch.finfo(new.dtype).tiny) / 127
            scales.view(-1, *scales.shape[2:]).index_copy_(0, self._slots, scale)
            new = (new / scale[..., None]).round_().to(torch.int8)
        pages.view(-1, *pages.shape[2:]).index_copy_(0, self._slots, new)

    def _load(self, kind: int, pages: Tensor, scales: Tensor) -> Tensor:
        table, rows = self._table.flatten(), len(self._table)
        found = self._gather(kind, pages, table).view(rows, -1, *pages.shape[2:])[:, : self._width]
        if self._pages.bits:
            scale = scales.index_select(0, table).view(rows, -1, *scales.shape[2:])[:, : self._width]
            found = found * scale[..., None]
        return found.transpose(1, 2)

    def _gather(self, kind: int, pages: Tensor, table: Tensor) -> Tensor:
        size = len(table) * pages[0].numel()
        if len(self._pages.gathered[kind]) < size:
            self._pages.gathered[kind] = pages.new_empty(size * 3 // 2)
        gathered = self._pages.gathered[kind][:size].view(len(table), *pages.shape[1:])
        return torch.index_select(pages, 0, table, out=gathered)
