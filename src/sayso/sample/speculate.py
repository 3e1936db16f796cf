"""Speculative decoding: several next tokens are proposed cheaply and verified in one pass of the model.

A proposal is accepted as long as the model picks the same tokens, each with its request's own settings and generator.
So the text is exactly that of the model alone, whatever is proposed; only the speed depends on the proposals
(Leviathan et al. 2023, with deterministic proposals: a token is accepted with the probability the model gives it).
"""

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import torch

from sayso.base.errors import UserError
from sayso.model.transformer import Transformer
from sayso.sample.native.choose import runner_for
from sayso.sample.pages import Pages
from sayso.sample.row import Row
from sayso.sample.runner import Chunk

NGRAMS = (4, 3, 2)  # numbers of last tokens to look up, longest first


class Proposer(Protocol):
    """The interface between engine and speculation."""

    count: int
    """Maximum number of tokens of one proposal."""

    def propose(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return proposals for each row, at most `count` tokens; the rows' blocks have room for them."""
        ...

    def clear(self, blocks: Sequence[int]) -> None:
        """Forget the content of blocks, which are about to be reused."""
        ...


class Lookup:
    """Proposes what followed the last occurrence of the row's last tokens in it (prompt lookup, Saxena 2023)."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._seen: WeakKeyDictionary[Row, tuple[int, dict[tuple[int, ...], int]]] = WeakKeyDictionary()

    def propose(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return for each row the tokens that followed, empty if nothing was found."""
        return [self._propose(row) for row in rows]

    def _propose(self, row: Row) -> list[int]:
        done, places = self._seen.get(row, (0, {}))
        tokens = row.tokens(max(done - max(NGRAMS), 0), row.length)
        first = row.length - len(tokens)
        for place in range(done, row.length):  # maps each n-gram to the position of the token after it
            for size in NGRAMS:
                if place >= size:
                    places[tuple(tokens[place - first - size : place - first])] = place
        self._seen[row] = row.length, places
        for size in NGRAMS:
            found = places.get(tuple(tokens[-size:]))
            if found is not None:
                return row.tokens(found, found + self.count)
        return []

    def clear(self, blocks: Sequence[int]) -> None:
        """Do nothing: blocks hold no state."""


class Draft:
    """Proposes the likeliest tokens of a smaller model with the same vocabulary, which has a separate cache."""

    def __init__(self, model: Transformer, count: int, blocks: int) -> None:
        self.count, self.model = count, model
        self.pages = Pages(model.config, blocks, model.device, model.dtype)
        self.runner = runner_for(model, self.pages)
        self._done: WeakKeyDictionary[Row, int] = WeakKeyDictionary()

    def propose(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return `count` tokens for each row that fits in the draft's context, none for the others."""
        places = [place for place, row in enumerate(rows) if row.length + self.count <= self.model.config.context]
        if not places:
            return [[] for _ in rows]
        fitting, found = [rows[place] for place in places], [list[int]() for _ in rows]
        starts = [self._done.get(row, 0) for row in fitting]
        chunks = [
            Chunk(row.tokens(done, row.length), done, row.blocks) for row, done in zip(fitting, starts, strict=True)
        ]
        for ahead in range(self.count):
            tokens = self._likeliest(chunks)
            for place, token in zip(places, tokens, strict=True):
                found[place].append(token)
            chunks = [
                Chunk([token], row.length + ahead, row.blocks) for row, token in zip(fitting, tokens, strict=True)
            ]
        for row in fitting:
            self._done[row] = row.length
        return found

    @torch.inference_mode()
    def _likeliest(self, chunks: Sequence[Chunk]) -> list[int]:
        hidden = self.runner.hidden(chunks)
        ends = torch.tensor([len(chunk.ids) for chunk in chunks]).cumsum(0) - 1
        return self.runner.head(hidden[ends.to(hidden.device)]).argmax(-1).tolist()

    def clear(self, blocks: Sequence[int]) -> None:
        """Fill blocks of the draft model's cache with zeros."""
        self.pages.clear(blocks)


def check_draft(model: Transformer, draft: Transformer) -> None:
    """Raise `UserError` unless both models have the same ids."""
    theirs, ours = draft.config.vocab_size, model.config.vocab_size
    if theirs != ours:
        raise UserError(
            f"A draft model must have the vocabulary of the main model, {ours} ids; got one with {theirs}: "
            "use a smaller model with the same tokenizer."
        )
