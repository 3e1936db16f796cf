"""The engine's runner in C++: takes chunks of new tokens, returns their last hidden states and logits.

Its results equal torch's up to rounding. A token's bits depend only on its own row: not on other rows in the pass, the
chunks of a prompt, the order of blocks, or the number of threads. N tokens, M rows of the head, C width, V vocabulary.
"""

from collections.abc import Sequence
from ctypes import CDLL, byref, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.native.build import library
from sayso.sample.native.tables import PAGES, PassStruct, tables_of
from sayso.sample.pages import Pages, Window
from sayso.sample.runner import Chunk

MIN_ANGLES = 1024  # positions whose rotary angles are computed at first; doubled when exceeded


class NativeRunner:
    """Runs a model that `why_not` accepts, on the pages of its cache, with as many threads as torch."""

    def __init__(self, model: Transformer, pages: Pages) -> None:
        found = library()
        assert isinstance(found, CDLL), found
        self._library, self.model, self.pages = found, model, pages
        self._tables = tables_of(model)
        for weights in self._tables.kept:
            found.sayso_use_large_pages(_at(weights), c_int64(weights.nbytes))
        self._angles: list[Any] = []
        self._angle_count = 0
        for number, layer in enumerate(self._tables.layers):
            for name in PAGES:
                part: Tensor = getattr(pages, name)[number]
                assert part.is_contiguous()
                setattr(layer, name, part.data_ptr() if part.numel() else None)

    @torch.inference_mode()
    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C]."""
        counts = [len(chunk.ids) for chunk in chunks]
        positions = torch.tensor([chunk.start + place for chunk in chunks for place in range(len(chunk.ids))])
        rows = torch.tensor([row for row, count in enumerate(counts) for _ in range(count)], dtype=torch.int32)
        width = max(len(chunk.blocks) for chunk in chunks)
        tables = torch.tensor(
            [[*chunk.blocks, *[0] * (width - len(chunk.blocks))] for chunk in chunks], dtype=torch.int32
        )
        self._compute_angles(max(chunk.start + count for chunk, count in zip(chunks, counts, strict=True)))
        x = self._embedded(chunks, positions)
        out = torch.empty_like(x)
        settings = PassStruct(
            len(x), width, torch.get_num_threads(), *(_at(part) for part in (positions, rows, tables))
        )
        self._library.sayso_hidden(byref(self._tables.model), byref(settings), _at(x), _at(out))
        return out

    @torch.inference_mode()
    def head(self, hidden: Tensor) -> Tensor:
        """Return [M, V]."""
        hidden = hidden.contiguous()
        logits = torch.empty(len(hidden), self.model.config.vocab_size)
        threads = c_int64(torch.get_num_threads())
        self._library.sayso_head(byref(self._tables.model), _at(hidden), c_int64(len(hidden)), threads, _at(logits))
        return logits

    def _embedded(self, chunks: Sequence[Chunk], positions: Tensor) -> Tensor:
        """Return the embedded tokens [N, C], in memory that may be overwritten."""
        if not self.model.config.reach:
            ids = torch.tensor([id_ for chunk in chunks for id_ in chunk.ids])
            return self.model.embedded(ids[None], positions[None])[0]
        parts = []
        for chunk in chunks:  # the embedding depends on the row's previous tokens
            window = Window(self.pages, [chunk.start], [len(chunk.ids)], [chunk.blocks])
            parts.append(self.model.embedded(torch.tensor([chunk.ids]), window.positions, window)[0])
        return torch.cat(parts)

    def _compute_angles(self, positions: int) -> None:
        """Compute the rotary angles of at least the first `positions` positions."""
        if positions <= self._angle_count:
            return
        self._angle_count = max(self._angle_count, MIN_ANGLES)
        while self._angle_count < positions:
            self._angle_count *= 2
        self._angles = self.model.angles(torch.arange(self._angle_count)[None])
        for layer, angles in zip(self._tables.layers, self._angles, strict=True):
            if angles is not None:
                layer.cos, layer.sin = (x.data_ptr() for x in angles)


def _at(x: Tensor) -> c_void_p:
    return c_void_p(x.data_ptr())
