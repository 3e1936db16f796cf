"""A pass of a model over new tokens of many rows, whose keys and values are stored in pages.

Takes chunks, each the next tokens of one row; returns the last hidden state of every token. N tokens in total, C width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.pages import Pages, Window


@dataclass(frozen=True)
class Chunk:
    """The next tokens of one row."""

    ids: Sequence[int]
    start: int
    """The position of the first."""
    blocks: Sequence[int]
    """The row's block table, long enough for the last."""


class Runner(Protocol):
    """The interface between engine and model."""

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return the normed last hidden state [N, C] of all new tokens, chunk after chunk."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [M, V] of hidden states [M, C]."""
        ...


class TorchRunner:
    """Any model on any device, by torch: chunks of similar length are padded and processed together."""

    def __init__(self, model: Transformer, pages: Pages) -> None:
        self.model, self.pages = model, pages

    @torch.inference_mode()
    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C]."""
        parts: dict[int, Tensor] = {}
        for group in groups(chunks):
            counts = [len(chunks[place].ids) for place in group]
            ids = torch.zeros(len(group), max(counts), dtype=torch.long)
            for row, place in enumerate(group):
                ids[row, : counts[row]] = torch.tensor(chunks[place].ids)
            window = Window(
                self.pages, [chunks[place].start for place in group], counts, [chunks[place].blocks for place in group]
            )
            ids = ids.to(window.positions.device)
            out = self.model.hidden(ids, positions=window.positions, mask=window.mask, cache=window)
            if len(group) == len(chunks) and min(counts) == max(counts):  # decoding rows: in order, without padding
                return out.flatten(0, 1)
            for row, place in enumerate(group):
                parts[place] = out[row, : counts[row]]
        return torch.cat([parts[place] for place in range(len(chunks))])

    @torch.inference_mode()
    def head(self, hidden: Tensor) -> Tensor:
        """Return [M, V]."""
        return self.model.head(hidden)


class AloneRunner(TorchRunner):
    """Any model, with each token in a separate pass: its bits then depend only on its own row.

    Matrix products of different sizes round differently; with this runner, neither other rows nor the chunks of a
    prompt change them. A prompt token costs as much as a decoded one.
    """

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C]."""
        tokens = [
            Chunk([token], chunk.start + place, chunk.blocks)
            for chunk in chunks
            for place, token in enumerate(chunk.ids)
        ]
        return torch.cat([super(AloneRunner, self).hidden([token]) for token in tokens])

    def head(self, hidden: Tensor) -> Tensor:
        """Return [M, V]."""
        return torch.cat([super(AloneRunner, self).head(row[None]) for row in hidden])


def groups(chunks: Sequence[Chunk]) -> Iterator[list[int]]:
    """Yield groups of chunk positions: similar lengths (within a factor of two), new rows separately."""
    keys = [(chunk.start > 0, len(chunk.ids)) for chunk in chunks]
    order = sorted(range(len(chunks)), key=keys.__getitem__, reverse=True)
    group: list[int] = []
    for place in order:
        first = chunks[group[0]] if group else None
        if first and ((first.start > 0) != (chunks[place].start > 0) or 2 * len(chunks[place].ids) < len(first.ids)):
            yield group
            group = []
        group.append(place)
    if group:
        yield group
