"""Bits per byte of held-out documents.

All bytes of each document are predicted, after <|bos|>; its end is not counted. Bits are divided by bytes and not by
tokens, so models with different tokenizers are comparable. A document longer than the context is read in windows, each
`stride` tokens after the one before; all but the first count only their last `stride` tokens, so that every token has
at least context - stride tokens before it, or the beginning of the document. The stride is half the context unless
another is given.

B rows, T time, V vocabulary size, D documents.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sayso.batch.by_length import by_length
from sayso.judge.statistics.estimate import Estimate, ratio
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer

_Floats = NDArray[np.float64]
_LOGITS = 1 << 24  # maximum number of logits in memory: 64 MB in float32
_POSITIONS = 1 << 13  # maximum number of positions in a batch


@dataclass(frozen=True)
class ScoredWindow:
    """A piece of a document that fits the context."""

    document: int
    """Index of the document."""
    inputs: Sequence[int]
    targets: Sequence[int]
    """The next id of each input."""
    counted: int
    """Number of targets, from the end, whose bits are counted."""


def bits_per_byte(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], context: int | None = None
) -> Estimate:
    """Return total bits / total bytes over `texts`; the standard error treats documents as the sampled unit."""
    ids = tokenizer.encode_batch(texts)
    sizes = [len(text.encode()) for text in texts]
    return ratio(document_bits(model, ids, tokenizer.specials["<|bos|>"], context), sizes)


def document_bits(
    model: Transformer,
    documents: Sequence[Sequence[int]],
    bos: int,
    context: int | None = None,
    stride: int | None = None,
) -> _Floats:
    """Return the bits of each document, [D], given its ids without <|bos|>; `stride` is at most the context."""
    context = min(context or model.config.context, model.config.context)
    windows = [row for number, ids in enumerate(documents) for row in text_windows(number, ids, bos, context, stride)]
    bits = np.zeros(len(documents))
    for row, nats in read_windows(model, windows):
        bits[row.document] += nats.sum() / math.log(2)
    return bits


def read_windows(model: Transformer, windows: Sequence[ScoredWindow]) -> Iterator[tuple[ScoredWindow, _Floats]]:
    """Yield each window with the nats of its counted targets, in the order of their lengths."""
    for batch in by_length([len(window.inputs) for window in windows], _POSITIONS):
        rows = [windows[index] for index in batch]
        yield from zip(rows, window_nats(model, rows), strict=True)


def text_windows(
    number: int, ids: Sequence[int], bos: int, context: int, stride: int | None = None
) -> Iterator[ScoredWindow]:
    """Yield windows of a document that together count each of its ids once."""
    sequence = [bos, *ids]
    stride = max(1, context // 2) if stride is None else stride
    assert 1 <= stride <= context, f"a stride beyond the window would skip tokens; {stride=}, {context=}"
    end = min(len(ids), context)
    counted = end
    while counted:
        start = max(0, end - context)
        yield ScoredWindow(number, sequence[start:end], sequence[start + 1 : end + 1], counted)
        counted = min(stride, len(ids) - end)
        end += counted


@torch.inference_mode()
def window_nats(model: Transformer, rows: Sequence[ScoredWindow]) -> list[_Floats]:
    """Return the nats of each row's counted targets; rows are sorted by length and padded on the right."""
    losses = torch.cat([F.cross_entropy(x, y, reduction="none") for x, y in window_logits(model, rows)])
    parts = losses.double().cpu().split([window.counted for window in rows])
    return [part.numpy() for part in parts]


@torch.inference_mode()
def window_logits(model: Transformer, rows: Sequence[ScoredWindow]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits [n, V] and targets [n] of all rows' counted targets in their order, in chunks that fit in memory.

    Rows are as in `window_nats`.
    """
    device = next(model.parameters()).device
    time = len(rows[-1].inputs)
    ids = torch.zeros(len(rows), time, dtype=torch.long)
    targets = torch.zeros(len(rows), time, dtype=torch.long)
    counted = torch.zeros(len(rows), time, dtype=torch.bool)
    for row, window in enumerate(rows):
        length = len(window.inputs)
        ids[row, :length] = torch.as_tensor(window.inputs)
        targets[row, :length] = torch.as_tensor(window.targets)
        counted[row, length - window.counted : length] = True
    hidden = model.hidden(ids.to(device))[counted.to(device)]
    chunk = max(1, _LOGITS // model.config.vocab_size)
    for x, y in zip(hidden.split(chunk), targets[counted].to(device).split(chunk), strict=True):
        yield model.head(x).float(), y
