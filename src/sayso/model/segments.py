"""Attention inside packed documents, without computing scores between documents.

A mask over rows of packed documents computes all pairs of positions and throws most away. Here the documents of a batch
are sorted by length into a few blocks, each block goes through causal attention as rows of its own, and the results
go back to their places. The cost is that of the documents, however long the rows are that they were packed into.
B batch, T time, N = B * T positions, H heads, K key-value heads, D head size; M >= N places in the blocks.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.base.device import moved
from sayso.model.attend import attend, causal
from sayso.model.autograd import is_plain

_STEP = 32  # a block's length is a multiple of it: few blocks, little padding


class Segments:
    """Which positions belong together, and the position of each in the blocks."""

    def __init__(self, documents: Tensor) -> None:
        """Take `documents` [B, T], the number of each position's document; equal neighbours in a row are one."""
        rows, time = documents.shape
        starts = torch.ones(documents.shape, dtype=torch.bool, device=documents.device)
        starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
        first = starts.flatten().nonzero()[:, 0]
        lengths = torch.diff(first, append=first.new_tensor([rows * time]))
        places = torch.arange(rows * time, device=documents.device)
        self.positions = (places - first.repeat_interleave(lengths)).view(rows, time)
        """How far each position is from its document's start, [B, T]."""
        self.blocks: list[tuple[int, int]] = []
        """Documents and length of each block."""
        source, empty = [], []
        padded = (lengths + _STEP - 1) // _STEP * _STEP
        for length in padded.unique().tolist():
            chosen = padded == length
            offsets = torch.arange(length, device=documents.device)
            beyond = offsets >= lengths[chosen, None]
            source.append((first[chosen, None] + offsets).masked_fill(beyond, 0).flatten())
            empty.append(beyond.flatten())
            self.blocks.append((int(chosen.sum()), length))
        self._source = torch.cat(source)  # [M]: the position that each place holds; any, where it is empty
        self._empty = torch.cat(empty)[:, None]  # [M, 1]
        self._place = torch.empty_like(places)  # [N]: the place of each position
        held = (~self._empty[:, 0]).nonzero()[:, 0]
        self._place[self._source[held]] = held
        self._whole = len(self.blocks) == 1 and len(held) == len(self._source)
        """Whether the rows are one block already: documents of one length, nothing to sort or to pad."""

    def to(self, device: torch.device) -> "Segments":
        """Move it to a device and return it: made on the CPU, it need not wait for answers from a GPU."""
        for name in ("positions", "_source", "_empty", "_place"):
            setattr(self, name, moved(getattr(self, name), device))
        return self

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int = 0, cap: float = 0.0) -> Tensor:
        """Return [B, T, H, D]: causal attention inside each document, for q [B, T, H, D], k and v [B, T, K, D].

        A window and a soft cap on the scores are those of `sayso.model.attend`; 0 = none.
        """
        masks = [causal(length, q.device, window) if 0 < window < length else None for _, length in self.blocks]
        if self._whole:
            all_q, all_k, all_v = (x.flatten(0, 1).unflatten(0, self.blocks[0]).transpose(1, 2) for x in (q, k, v))
            return attend(all_q, all_k, all_v, masks[0], cap).transpose(1, 2).reshape(q.shape)
        sizes = [documents * length for documents, length in self.blocks]
        taken = [self._take(x.flatten(0, 1)) for x in (q, k, v)]
        mixed = []
        for block, mask, *parts in zip(self.blocks, masks, *(x.split(sizes) for x in taken), strict=True):
            ours, keys, values = (x.unflatten(0, block).transpose(1, 2) for x in parts)
            mixed.append(attend(ours, keys, values, mask, cap).transpose(1, 2).flatten(0, 1))
        return self._put(torch.cat(mixed)).view(q.shape)

    def _take(self, x: Tensor) -> Tensor:
        """Return [M, H, D]: what each place holds, for x [N, H, D]."""
        if is_plain():
            return _rows(x, self._source)
        taken: Tensor = _Take.apply(x, self._source, self._place)  # type: ignore[no-untyped-call]
        return taken

    def _put(self, x: Tensor) -> Tensor:
        """Return [N, H, D]: each position's place, for x [M, H, D]."""
        if is_plain():
            return _rows(x, self._place)
        put: Tensor = _Put.apply(x, self._source, self._place, self._empty)  # type: ignore[no-untyped-call]
        return put


class _Take(torch.autograd.Function):
    """Positions to places. What an empty place holds is seen by nothing, so no gradient comes from there."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, source: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return _rows(x, source)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rows(of_y, place), None, None


class _Put(torch.autograd.Function):
    """Places to positions; an empty place went nowhere, so its gradient is zero."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, source: Tensor, place: Tensor, empty: Tensor) -> Tensor:
        ctx.save_for_backward(source, empty)
        return _rows(x, place)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_y: Tensor) -> tuple[Tensor, None, None, None]:
        source, empty = ctx.saved_tensors  # type: ignore[attr-defined]
        return _rows(of_y, source).masked_fill_(empty[..., None], 0), None, None, None


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Return x[index] for x [R, H, D], copied a whole row at a time."""
    return x.flatten(1).index_select(0, index).view(-1, *x.shape[1:])
