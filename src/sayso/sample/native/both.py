"""Two runners on one cache: the native one for a few tokens per row, torch's for long chunks of prompts.

Decoding is bound by memory bandwidth, which the native pass saturates; torch is faster at the large matrix products of
a prompt.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, TorchRunner

_LONG = 256  # tokens of a chunk from which torch is as fast, measured on a model with 135M parameters


class BothRunner:
    """Runs a model that the native runner supports, on the pages of one cache."""

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
            own = [chunks[place] for place in places]
            split = runner.hidden(own).split([len(chunk.ids) for chunk in own])
            for place, part in zip(places, split, strict=True):
                parts[place] = part
        return torch.cat(parts)
