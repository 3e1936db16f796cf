"""Loss on any texts: bits per byte, perplexity, and how the loss falls with the context seen.

Takes a model and texts, returns the nats of each document by how many tokens precede the predicted one in its window:
1, 2 to 3, 4 to 7, and so on, <|bos|> included. Bytes are those of the text in UTF-8. The sampled unit of every interval
is the document. D documents, K buckets.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sayso.base.errors import UserError
from sayso.judge.bits import read_windows, text_windows
from sayso.judge.statistics.estimate import Estimate, Floats, ratio
from sayso.model import Transformer
from sayso.token.tokenizer import BOS, Tokenizer

_LARGEST = 700.0  # exp of more is infinite


@dataclass(frozen=True)
class Bucket:
    """The tokens that were predicted from a similar number of tokens."""

    least: int
    most: int
    """Number of tokens before them in their windows."""
    tokens: int
    documents: int
    """Number of documents that have such tokens."""
    nats: Estimate
    """Nats a token."""


@dataclass(frozen=True)
class TextLoss:
    """The loss of some documents."""

    nats: Floats
    """Sum of the nats of the tokens of each document and bucket, [D, K]."""
    tokens: Floats
    """Their number, [D, K]."""
    sizes: Floats
    """Bytes of each document, [D]."""
    window: int
    """Most tokens before a predicted one."""

    @property
    def bits_per_byte(self) -> Estimate:
        """Total bits / total bytes."""
        return ratio(self.nats.sum(1) / math.log(2), self.sizes)

    @property
    def nats_per_token(self) -> Estimate:
        """Total nats / total tokens, of the model's own tokenizer."""
        return ratio(self.nats.sum(1), self.tokens.sum(1))

    @property
    def perplexity(self) -> Estimate:
        """The exponential of the nats per token and of the ends of their interval; its error by the delta method."""
        return exponential(self.nats_per_token)

    def buckets(self) -> list[Bucket]:
        """Return the loss by the number of tokens before the predicted one; buckets without tokens are left out."""
        found = []
        for k in range(self.tokens.shape[1]):
            some = self.tokens[:, k] > 0
            if some.any():
                loss = ratio(self.nats[some, k], self.tokens[some, k])
                count = int(self.tokens[:, k].sum())
                found.append(Bucket(2**k, min(2 ** (k + 1) - 1, self.window), count, int(some.sum()), loss))
        return found

    def of(self, chosen: slice) -> "TextLoss":
        """Return the loss of some of the documents."""
        return TextLoss(self.nats[chosen], self.tokens[chosen], self.sizes[chosen], self.window)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "documents": len(self.sizes),
            "bytes": int(self.sizes.sum()),
            "tokens": int(self.tokens.sum()),
            "bits_per_byte": self.bits_per_byte.as_dict(),
            "nats_per_token": self.nats_per_token.as_dict(),
            "perplexity": self.perplexity.as_dict(),
            "by_context": [
                {"least": one.least, "most": one.most, "tokens": one.tokens, "documents": one.documents}
                | {"nats_per_token": one.nats.as_dict()}
                for one in self.buckets()
            ],
        }


def text_loss(
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> TextLoss:
    """Return the loss of texts, read in windows of `window` tokens (None: the model's context).

    Each window begins `stride` tokens after the one before (None: half a window). `progress` receives the number of
    tokens predicted so far, and of all. Raises `UserError` for a window beyond the model's context, or a stride beyond
    the window.
    """
    window, stride = window_and_stride(model.config.context, window, stride)
    bos, documents = tokenizer.specials[BOS], tokenizer.encode_batch(list(texts))
    windows = [row for number, ids in enumerate(documents) for row in text_windows(number, ids, bos, window, stride)]
    total, done = sum(map(len, documents)), 0
    nats, tokens = (np.zeros((len(texts), window.bit_length())) for _ in range(2))
    for row, values in read_windows(model, windows):
        seen = np.arange(len(row.inputs) - row.counted, len(row.inputs)) + 1
        bucket = np.frexp(seen)[1] - 1
        np.add.at(nats[row.document], bucket, values)
        np.add.at(tokens[row.document], bucket, 1)
        progress(done := done + row.counted, total)
    sizes = np.array([len(text.encode()) for text in texts], np.float64)
    return TextLoss(nats, tokens, sizes, window)


def window_and_stride(context: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """Return both as they are used. Raises `UserError` for a window or a stride that is too long."""
    if window is not None and window > context:
        raise UserError(f"--window must be at most the model's context, {context:,} tokens; got {window:,}.")
    used = context if window is None else window
    if stride is not None and stride > used:
        raise UserError(
            f"--stride must be at most the window, {used:,} tokens, or tokens would be skipped; got {stride:,}. Omit "
            "it for half a window."
        )
    return used, max(1, used // 2) if stride is None else stride


def exponential(value: Estimate) -> Estimate:
    """Return exp of an estimate and of the ends of its interval."""
    mean, low, high = (math.exp(min(x, _LARGEST)) if x == x else math.nan for x in (value.mean, value.low, value.high))
    return Estimate(mean, mean * value.se, value.n, low, high)
