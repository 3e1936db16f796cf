"""Run the weights of a next-token program: takes the ids of a prompt, yields the ids that the weights continue it with.

It knows nothing of the program: each step embeds one token, multiplies it with the weights of each block, lets each
head find one key in its cache, and takes the largest logit. The values are integers in float64, which are exact below
2^53 = 9,007,199,254,740,992; each step checks that no sum within it can reach that, and refuses otherwise. The largest
number of a run is mostly the square of the position in its keys: it passes 2^53 after 94,906,265 tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from sayso.base.errors import UserError, nearest
from sayso.rasp.machine.cache import Cache, HullCache, Rows
from sayso.rasp.machine.weights import Block, Matrix, Weights

EXACT = 2.0**53
"""Integers below it are exact in float64."""


def encode(weights: Weights, tokens: Iterable[str]) -> list[int]:
    """Return the ids of tokens. Raises `UserError` for one that the vocabulary lacks."""
    ids = weights.vocabulary.ids
    for token in tokens:
        if token not in ids:
            raise UserError(f"There is no token '{token}'.{nearest(token, ids)}")
    return [ids[token] for token in tokens]


def generate(
    weights: Weights, prompt: Sequence[str], stops: Iterable[str] = (), cache: Callable[[], Cache] = HullCache
) -> Iterator[str]:
    """Yield the tokens that follow a prompt, up to and with one of `stops`.

    Raises `UserError` for an unknown token, and for numbers that float64 could round.
    """
    names, ends = list(weights.vocabulary.tokens), set(encode(weights, stops))
    ids = encode(weights, prompt)
    if not ids:
        raise UserError("A next-token program needs a prompt of one token or more.")
    stream = Streaming(weights, cache)
    used = np.flatnonzero(weights.unembed.any(0))
    head = weights.unembed[:, used]
    for index in ids:
        x = stream.read(index)
    while True:
        index = int((head @ x[used]).argmax())
        yield names[index]
        if index in ends:
            return
        x = stream.read(index)


class Streaming:
    """The state of a run: the caches of its heads, and the sums so far."""

    def __init__(self, weights: Weights, cache: Callable[[], Cache] = HullCache) -> None:
        self.weights, self.time = weights, 0
        self.blocks = [_Running(block, cache) for block in weights.blocks]
        tables = [table for block in self.blocks for table in (block.reads, block.units)]
        self.largest = EXACT / max(1.0, _most(weights.unembed), *map(_most, tables))

    def read(self, index: int) -> Matrix:
        """Read a token; return the residual stream [C] after the last block."""
        x = self.weights.embed[index].copy()
        position = self.weights.position
        x[position : position + 2] = self.time, self.time * self.time
        self.time += 1
        for block in self.blocks:
            block.apply(x)
        # each dimension is written by one head or unit, once, so that the last x has all values that were computed
        if max(x.max(), -x.min()) >= self.largest:
            raise UserError(
                f"At token {self.time:,} a number may pass {EXACT:,.0f}, beyond which float64 is not exact; "
                "make the run shorter, or its numbers smaller."
            )
        return x


class _Running:
    """A block with its caches."""

    def __init__(self, block: Block, cache: Callable[[], Cache]) -> None:
        self.lookups = [(head.targets, cache(), Rows(len(head.targets))) for head in block.lookups]
        self.totals, self.sums = block.totals.targets, np.zeros(len(block.totals.targets))
        tables = [table for head in block.lookups for table in (head.query, head.key, head.value)]
        self.reads = np.concatenate([block.totals.value, *tables])
        self.units, self.hidden, self.down = np.concatenate([block.gate, block.up]), len(block.gate), block.down

    def apply(self, x: Matrix) -> None:
        """Add what the block computes to x [C]."""
        if len(self.reads):
            self._attend(x)
        if self.hidden:
            both = self.units @ x
            x += self.down @ (np.maximum(both[: self.hidden], 0) * both[self.hidden :])

    def _attend(self, x: Matrix) -> None:
        read = self.reads @ x
        place = len(self.totals)
        if place:
            self.sums += read[:place]
            x[self.totals] = self.sums
        for targets, cache, values in self.lookups:
            a, b, key, squared = map(int, read[place : place + 4].tolist())
            values.add(read[place + 4 : place + 4 + len(targets)])
            cache.add(key, squared)
            x[targets] = values.table[cache.best(a, b)]
            place += 4 + len(targets)


def _most(table: Matrix) -> float:
    """Return the most that a row of a matrix makes of numbers of magnitude 1."""
    return float(np.abs(table).sum(1).max(initial=0))
