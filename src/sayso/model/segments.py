"""Attention inside packed documents, without computing scores between documents.

With a mask over rows of packed documents, most of the computed scores are discarded. Here the documents of a batch are
grouped by length into a few blocks, causal attention runs on each block with one document per row, and the results are
scattered back. The cost depends on the lengths of the documents, not on that of the packed rows.
B batch, T time, N = B * T positions, H heads, K key-value heads, D head size; M >= N slots in the blocks.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.base.device import moved
from sayso.model.attend import attend, causal
from sayso.model.autograd import is_plain

_STEP = 32  # block lengths are multiples of it: few blocks, little padding


class Segments:
    """The documents of a packed batch, and the slot of each position in the blocks.

    `documents` [B, T] is the document index of each position; equal adjacent values in a row are one document.
    """

    def __init__(self, documents: Tensor) -> None:
        rows, time = documents.shape
        starts = torch.ones(documents.shape, dtype=torch.bool, device=documents.device)
        starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
        first = starts.flatten().nonzero()[:, 0]
        lengths = torch.diff(first, append=first.new_tensor([rows * time]))
        flat = torch.arange(rows * time, device=documents.device)
        self.positions = (flat - first.repeat_interleave(lengths)).view(rows, time)
        """Offset of each position from its document's start, [B, T]."""
        self.blocks: list[tuple[int, int]] = []
        """(number of documents, padded length) of each block."""
        source, empty = [], []
        padded = (lengths + _STEP - 1) // _STEP * _STEP
        for length in padded.unique().tolist():
            chosen = padded == length
            offsets = torch.arange(length, device=documents.device)
            beyond = offsets >= lengths[chosen, None]
            source.append((first[chosen, None] + offsets).masked_fill(beyond, 0).flatten())
            empty.append(beyond.flatten())
            self.blocks.append((int(chosen.sum()), length))
        self._source = torch.cat(source)  # [M]: the position in each slot; arbitrary in an empty one
        self._empty = torch.cat(empty)[:, None]  # [M, 1]
        self._slot = torch.empty_like(flat)  # [N]: the slot of each position
        filled = (~self._empty[:, 0]).nonzero()[:, 0]
        self._slot[self._source[filled]] = filled
        self._uniform = len(self.blocks) == 1 and len(filled) == len(self._source)
        """Whether all documents have the same length and need no padding, so that a reshape makes the one block."""

    def to(self, device: torch.device) -> "Segments":
        """Move to a device and return self; building it on the CPU avoids synchronizing with a GPU."""
        for name in ("positions", "_source", "_empty", "_slot"):
            setattr(self, name, moved(getattr(self, name), device))
        return self

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int = 0, cap: float = 0.0) -> Tensor:
        """Return causal attention inside each document, [B, T, H, D], for q [B, T, H, D], k and v [B, T, K, D].

        `window` and `cap` are those of `sayso.model.attend`; 0 = none.
        """
        masks = [causal(length, q.device, window) if 0 < window < length else None for _, length in self.blocks]
        if self._uniform:
            all_q, all_k, all_v = (x.flatten(0, 1).unflatten(0, self.blocks[0]).transpose(1, 2) for x in (q, k, v))
            return attend(all_q, all_k, all_v, masks[0], cap).transpose(1, 2).reshape(q.shape)
        sizes = [documents * length for documents, length in self.blocks]
        gathered = [self._gather(x.flatten(0, 1)) for x in (q, k, v)]
        outputs = []
        for block, mask, *parts in zip(self.blocks, masks, *(x.split(sizes) for x in gathered), strict=True):
            queries, keys, values = (x.unflatten(0, block).transpose(1, 2) for x in parts)
            outputs.append(attend(queries, keys, values, mask, cap).transpose(1, 2).flatten(0, 1))
        return self._scatter(torch.cat(outputs)).view(q.shape)

    def _gather(self, x: Tensor) -> Tensor:
        """Return the value of each slot, [M, H, D], for x [N, H, D]."""
        if is_plain():
            return _rows(x, self._source)
        gathered: Tensor = _Gather.apply(x, self._source, self._slot)  # type: ignore[no-untyped-call]
        return gathered

    def _scatter(self, x: Tensor) -> Tensor:
        """Return the value of each position, [N, H, D], for x [M, H, D]."""
        if is_plain():
            return _rows(x, self._slot)
        scattered: Tensor = _Scatter.apply(x, self._source, self._slot, self._empty)  # type: ignore[no-untyped-call]
        return scattered


class _Gather(torch.autograd.Function):
    """Positions to slots. Attention masks empty slots out, so they get no gradient."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, source: Tensor, slot: Tensor) -> Tensor:
        ctx.save_for_backward(slot)
        return _rows(x, source)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, None, None]:
        (slot,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rows(grad_y, slot), None, None


class _Scatter(torch.autograd.Function):
    """Slots to positions. Empty slots are dropped, so their gradient is zero."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, source: Tensor, slot: Tensor, empty: Tensor) -> Tensor:
        ctx.save_for_backward(source, empty)
        return _rows(x, slot)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, None, None, None]:
        source, empty = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rows(grad_y, source).masked_fill_(empty[..., None], 0), None, None, None


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Return x[index] for x [R, H, D], copying whole rows."""
    return x.flatten(1).index_select(0, index).view(-1, *x.shape[1:])
