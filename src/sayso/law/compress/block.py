"""A block of tokens as bits: a range coder driven by the model's distribution of every next token.

The tokens are cut into streams, which advance together: the model reads a token of each in one pass. Every stream but
the first begins without context, so more streams are faster and compress slightly less. Probabilities are rounded to
integers of 24 bits that leave something to every token (`constriction`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sayso.base.errors import require
from sayso.law.compress.mix import Mix, ModelAlone, Predictor
from sayso.law.compress.streams import Streams
from sayso.model import Transformer

_Progress = Callable[[int], None]


class BlockCoder:
    """Encodes and decodes blocks of a model's tokens. `window`: most tokens that the model sees before the next."""

    def __init__(self, model: Transformer, bos: int, window: int, *, mix: bool) -> None:
        self.model, self.bos, self.mix = model, bos, mix
        self.window = min(window, model.config.context)
        coder = require("constriction", "zip")
        self._queue: Any = coder.stream.queue
        self._family: Any = coder.stream.model.Categorical(perfect=False)

    def predictor(self, learned: Predictor | None, streams: int) -> Predictor:
        """Return what predicts a block after those that `learned` has read; None is before the first."""
        fresh = Mix(self.model.config.vocab_size) if self.mix else ModelAlone()
        return (learned or fresh).begun(streams)

    def encode(
        self, ids: Sequence[int], streams: int, predictor: Predictor | None = None, progress: _Progress = lambda _: None
    ) -> bytes:
        """Return a block of at least one token; `progress` receives the number of tokens done.

        `predictor` is one of `predictor` for these streams, and learns from the block; default: one that knows nothing.
        """
        parts, encoder, at = split(ids, streams), self._queue.RangeEncoder(), 0
        predictor, reader = predictor or self.predictor(None, streams), self._reader(len(ids), streams)
        while at < len(parts[0]):
            active = [part for part in parts if len(part) > at]
            count = min(reader.room(), len(active[-1]) - at)
            logits = reader.feed([[self.bos, *part][at : at + count] if at == 0 else part[at - 1 : at - 1 + count]
                                  for part in active])  # fmt: skip
            for step in range(count):
                tokens = [part[at + step] for part in active]
                encoder.encode(np.array(tokens, np.int32), self._family, predictor.probabilities(logits[:, step]))
                predictor.learn(tokens)
            at += count
            progress(min(len(ids), at * streams))
        return bytes(encoder.get_compressed().astype("<u4").tobytes())

    def decode(
        self,
        data: bytes,
        count: int,
        streams: int,
        predictor: Predictor | None = None,
        progress: _Progress = lambda _: None,
    ) -> list[int]:
        """Return the `count` tokens of a block; other tokens, or fewer, if it was encoded with other probabilities."""
        decoder = self._queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        predictor, reader = predictor or self.predictor(None, streams), self._reader(count, streams)
        lengths = part_lengths(count, streams)
        parts: list[list[int]] = [[] for _ in lengths]
        for at in range(lengths[0]):
            active = sum(length > at for length in lengths)
            logits = reader.feed([[part[-1] if part else self.bos] for part in parts[:active]])
            try:
                tokens = decoder.decode(self._family, predictor.probabilities(logits[:, 0])).tolist()
            except AssertionError:  # what `constriction` raises where no token has these bits
                break
            for part, token in zip(parts, tokens, strict=False):
                part.append(token)
            predictor.learn(tokens)
            progress(sum(map(len, parts)))
        return [token for part in parts for token in part]

    def _reader(self, count: int, streams: int) -> Streams:
        return Streams(self.model, streams, part_lengths(count, streams)[0], self.window)


def part_lengths(count: int, streams: int) -> list[int]:
    """Return the lengths of `streams` parts of `count` tokens: longer ones first, at most one longer than the last."""
    each, more = divmod(count, streams)
    return [each + (number < more) for number in range(streams)]


def split(ids: Sequence[int], streams: int) -> list[list[int]]:
    """Cut ids into consecutive parts of these lengths."""
    parts, start = [], 0
    for length in part_lengths(len(ids), streams):
        parts.append(list(ids[start : start + length]))
        start += length
    return parts
