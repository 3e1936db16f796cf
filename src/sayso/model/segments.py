"""Attention inside packed documents, without computing scores between documents.

With a mask over rows of packed documents, most of the computed scores are discarded. Here the documents of a batch are
grouped by length into a few blocks, causal attention runs on each block with one document per row, and the results are
scattered back. The cost depends on the lengths of the documents, not on that of the packed rows. Texts with a common
beginning, such as the answers to one question, can share its positions: `Trees`.
B batch, T time, N = B * T positions, H heads, K key-value heads, D head size; M >= N slots in the blocks.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sayso.base.device import moved
from sayso.model.attend import attend, causal
from sayso.model.autograd import is_plain

_STEP = 32  # block lengths are multiples of it: few blocks, little padding
_TREE_STEP = 16  # the same of trees, whose masks are not free


class Blocks:
    """Blocks of documents of similar length, and where each position of a packed batch is in them."""

    blocks: list[tuple[int, int]]
    """(number of documents, padded length) of each block."""
    _source: Tensor  # [M]: the position in each slot; arbitrary in an empty one
    _empty: Tensor  # [M, 1]
    _slot: Tensor  # [N]: a slot of each position
    _uniform = False
    """Whether all documents have the same length and need no padding, so that a reshape makes the one block."""

    def to(self, device: torch.device) -> Self:
        """Move to a device and return self; building it on the CPU avoids synchronizing with a GPU."""
        for name in ("_source", "_empty", "_slot"):
            setattr(self, name, moved(getattr(self, name), device))
        return self

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int = 0, cap: float = 0.0) -> Tensor:
        """Return causal attention inside each document, [B, T, H, D], for q [B, T, H, D], k and v [B, T, K, D].

        `window` and `cap` are those of `sayso.model.attend`; 0 = none.
        """
        masks = self._masks(window, q.device)
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

    def _masks(self, window: int, device: torch.device) -> Sequence[Tensor | None]:
        """Return the mask of each block; None for plain causal attention."""
        return [causal(length, device, window) if 0 < window < length else None for _, length in self.blocks]

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


class Segments(Blocks):
    """The documents of a packed batch.

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
        self.blocks = []
        source, empty = [], []
        padded = (lengths + _STEP - 1) // _STEP * _STEP
        for length in padded.unique().tolist():
            chosen = padded == length
            offsets = torch.arange(length, device=documents.device)
            beyond = offsets >= lengths[chosen, None]
            source.append((first[chosen, None] + offsets).masked_fill(beyond, 0).flatten())
            empty.append(beyond.flatten())
            self.blocks.append((int(chosen.sum()), length))
        self._source = torch.cat(source)
        self._empty = torch.cat(empty)[:, None]
        self._slot = torch.empty_like(flat)
        filled = (~self._empty[:, 0]).nonzero()[:, 0]
        self._slot[self._source[filled]] = filled
        self._uniform = len(self.blocks) == 1 and len(filled) == len(self._source)

    def to(self, device: torch.device) -> Self:
        """Move to a device and return self."""
        self.positions = moved(self.positions, device)
        return super().to(device)


class Trees(Blocks):
    """Texts that share positions of a packed batch, for inference: a shared position would get a wrong gradient.

    `sources` has the positions of each tree, a trunk and then its branches. `branches` has the branch of each of them,
    from 1; 0 in the trunk. A position attends to its trunk and its branch, up to itself. Trees may share positions,
    which must follow the same ones in each. Every position of the batch must be in a tree.
    """

    def __init__(self, sources: Sequence[Sequence[int]], branches: Sequence[Sequence[int]]) -> None:
        self.blocks, self._visible = [], []
        lengths: dict[int, list[int]] = {}
        for number, source in enumerate(sources):
            lengths.setdefault(-(-len(source) // _TREE_STEP) * _TREE_STEP, []).append(number)
        parts = []
        for length, numbers in lengths.items():
            self.blocks.append((len(numbers), length))
            own = torch.tensor([[*branches[one], *[-1] * (length - len(branches[one]))] for one in numbers])
            parts.extend([[*sources[one], *[-1] * (length - len(sources[one]))] for one in numbers])
            self._visible.append(_visible(own) if (own > 0).any() else None)
        slots = torch.tensor([place for part in parts for place in part])
        self._empty = (slots < 0)[:, None]
        self._source = slots.clamp_min(0)
        filled = (slots >= 0).nonzero()[:, 0]
        self._slot = torch.empty(int(slots.max()) + 1, dtype=torch.long)
        self._slot[self._source[filled]] = filled

    def to(self, device: torch.device) -> Self:
        """Move to a device and return self."""
        self._visible = [None if mask is None else moved(mask, device) for mask in self._visible]
        return super().to(device)

    def _masks(self, window: int, device: torch.device) -> Sequence[Tensor | None]:
        plain = super()._masks(window, device)
        assert not window or not any(mask is not None for mask in self._visible), "a window is measured in columns"
        return [own if mask is None else mask for mask, own in zip(self._visible, plain, strict=True)]


def _visible(branches: Tensor) -> Tensor:
    """Return which slots each slot attends to, bool [B, 1, T, T], for the branch of each slot [B, T]."""
    before = causal(branches.shape[1], branches.device)
    seen = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return (seen & before)[:, None]


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
