"""A model's logits along several streams of tokens that advance together, with the same bits forward and back.

Compression reads many tokens of a stream at once, decompression one at a time, perhaps with other threads. Both must
see the same bits, so the model runs in the native pass, where a token's result depends on its own stream only.
S streams, K tokens of each, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.sample.blocks import blocks_for
from sayso.sample.native import NativeRunner, why_not
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk

LOGITS = 1 << 22  # computed at once: 16 MB


def check_native(model: Transformer) -> None:
    """Raise `UserError` if the model cannot run in the native pass on this machine."""
    if reason := why_not(model):
        raise UserError(
            f"Compression needs the native pass, whose results do not depend on threads or batches. {reason} Choose "
            "another model, or install a C++ compiler."
        )


class Streams:
    """S streams, empty at first, in windows of `window` tokens that overlap by half, as in `judge.bits`."""

    def __init__(self, model: Transformer, count: int, longest: int, window: int) -> None:
        self.window, self.position = window, 0
        per_stream = blocks_for(min(window, longest))
        pages = Pages(model.config, count * per_stream, torch.device("cpu"), torch.float32)
        pages.clear(range(len(pages)))
        self._runner = NativeRunner(model, pages)
        self._blocks = [range(n * per_stream, (n + 1) * per_stream) for n in range(count)]
        self._seen: list[list[int]] = [[] for _ in range(count)]  # the tokens in the window
        self._most = max(1, LOGITS // (count * model.config.vocab_size))

    def room(self) -> int:
        """Return how many tokens of each stream `feed` accepts next."""
        left = self.window - self.position or self.window - self._kept
        return min(left, self._most)

    def feed(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Append the next K tokens to each of the first streams, and return the logits after each, [S, K, V]."""
        if self.position == self.window:
            self._slide(len(tokens))
        for seen, new in zip(self._seen, tokens, strict=False):
            seen.extend(new)
        logits = self._runner.head(self._hidden(tokens, self.position))
        self.position += len(tokens[0])
        return logits.view(len(tokens), len(tokens[0]), -1).numpy()

    def _slide(self, count: int) -> None:
        """Begin a new window with the last tokens of the one before."""
        for seen in self._seen:
            del seen[: len(seen) - self._kept]
        if self._kept:
            self._hidden(self._seen[:count], 0)
        self.position = self._kept

    def _hidden(self, tokens: Sequence[Sequence[int]], start: int) -> torch.Tensor:
        return self._runner.hidden(
            [Chunk(row, start, blocks) for row, blocks in zip(tokens, self._blocks, strict=False)]
        )

    @property
    def _kept(self) -> int:
        return self.window - max(1, self.window // 2)
