"""Compression of unseen text: held-out documents -> bits per byte.

Each document is predicted completely, from its first byte to its last, after <|bos|>; its end is not counted. Bits are
divided by the text's bytes and not by its tokens, so models with different tokenizers are comparable. A document longer
than the context is read in windows that overlap by half: a later window counts only its second half, so that
every token has at least half a context before it (or the beginning of the document).

B rows, T time, V vocabulary size, D documents.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sayso.batch.by_length import by_length
from sayso.judge.stats import Estimate, ratio
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer

_Floats = NDArray[np.float64]
_LOGITS = 1 << 24  # maximum of logits held at once: 64 MB of float32
_POSITIONS = 1 << 13  # maximum of positions in one batch


@dataclass(frozen=True)
class TextWindow:
    """A piece of one document that fits the context; of its targets (the next ids) the last `charged` count."""

    document: int
    inputs: Sequence[int]
    targets: Sequence[int]
    charged: int


def bits_per_byte(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], context: int | None = None
) -> Estimate:
    """Total bits / total bytes over `texts`; the standard error treats documents as the sampled unit."""
    ids = tokenizer.encode_batch(texts)
    sizes = [len(text.encode()) for text in texts]
    return ratio(document_bits(model, ids, tokenizer.specials["<|bos|>"], context), sizes)


def document_bits(
    model: Transformer, documents: Sequence[Sequence[int]], bos: int, context: int | None = None
) -> _Floats:
    """Bits the model needs for all ids of each document (ids without <|bos|>) -> [D]."""
    context = min(context or model.config.context, model.config.context)
    windows = [piece for number, ids in enumerate(documents) for piece in text_windows(number, ids, bos, context)]
    bits = np.zeros(len(documents))
    with torch.inference_mode():
        for batch in by_length([len(window.inputs) for window in windows], _POSITIONS):
            rows = [windows[index] for index in batch]
            for row, nats in zip(rows, window_nats(model, rows), strict=True):
                bits[row.document] += nats / math.log(2)
    return bits


def text_windows(number: int, ids: Sequence[int], bos: int, context: int) -> Iterator[TextWindow]:
    """One document -> windows that together count each of its ids once."""
    sequence = [bos, *ids]
    stride = max(1, context // 2)
    end = min(len(ids), context)
    charged = end
    while charged:
        start = max(0, end - context)
        yield TextWindow(number, sequence[start:end], sequence[start + 1 : end + 1], charged)
        charged = min(stride, len(ids) - end)
        end += charged


def window_nats(model: Transformer, rows: Sequence[TextWindow]) -> list[float]:
    """Nats of each row's counted targets. Rows are padded on the right, which no earlier position can see."""
    device = next(model.parameters()).device
    time = len(rows[-1].inputs)
    ids = torch.zeros(len(rows), time, dtype=torch.long)
    targets = torch.zeros(len(rows), time, dtype=torch.long)
    counted = torch.zeros(len(rows), time, dtype=torch.bool)
    for row, window in enumerate(rows):
        length = len(window.inputs)
        ids[row, :length] = torch.as_tensor(window.inputs)
        targets[row, :length] = torch.as_tensor(window.targets)
        counted[row, length - window.charged : length] = True
    hidden = model.hidden(ids.to(device))[counted.to(device)]
    wanted, at_once = targets[counted].to(device), max(1, _LOGITS // model.config.vocab_size)
    losses = torch.cat(
        [
            F.cross_entropy(model.head(hidden[i : i + at_once]).float(), wanted[i : i + at_once], reduction="none")
            for i in range(0, len(wanted), at_once)
        ]
    )
    owner = torch.arange(len(rows))[:, None].expand_as(counted)[counted]
    summed: list[float] = torch.zeros(len(rows), dtype=torch.double).index_add(0, owner, losses.double().cpu()).tolist()
    return summed
