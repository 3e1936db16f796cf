"""Two runners on one cache: the native one for a few tokens of each row, torch's for long pieces of prompts.

The native pass reads weights at the speed of memory, which is what decoding waits for; products as large as a prompt's
are what torch's library is better at.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, TorchRunner

_LONG = 256  # tokens of a piece from which on torch was not slower, on a model of 135M weights


class BothRunner:
    """A model that the native runner can run, with the pages of its cache."""

    def __init__(self, model: Transformer, pages: Pages) -> None:
        self.native, self.torch = NativeRunner(model, pages), TorchRunner(model, pages)
        self.head = self.native.head

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C]."""
        long = [len(chunk.ids) >= _LONG for chunk in chunks]
        if not any(long):
            return self.native.hidden(chunks)
        if all(long):
            return self.torch.hidden(chunks)
        parts: list[Tensor] = [torch.empty(0)] * len(chunks)
        for runner, wanted in ((self.native, False), (self.torch, True)):
            places = [place for place, is_long in enumerate(long) if is_long == wanted]
            mine = [chunks[place] for place in places]
            split = runner.hidden(mine).split([len(chunk.ids) for chunk in mine])
            for place, part in zip(places, split, strict=True):
                parts[place] = part
        return torch.cat(parts)
