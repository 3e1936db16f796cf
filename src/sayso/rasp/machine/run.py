"""Run the weights of a next-token program: takes the ids of a prompt, yields the ids that the weights continue it with.

It knows nothing of the program: each step embeds one token, multiplies it with the weights of each block, lets each
head find one key in its cache, and takes the largest logit. The values are integers in float64, which are exact below
2^53 = 9,007,199,254,740,992; each step checks that no sum within it can reach that, and refuses otherwise. The largest
number of a run is mostly the square of the position in its keys: it reaches 2^53 after 94,906,266 tokens.
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
        self.limits = _Limits([weights.unembed, *(table for one in self.blocks for table in (one.reads, one.units))])

    def read(self, index: int) -> Matrix:
        """Read a token; return the residual stream [C] after the last block."""
        x = self.weights.embed[index].copy()
        position = self.weights.position
        x[position : position + 2] = self.time, self.time * self.time
        self.time += 1
        # each dimension is written by one head or unit, once, so that the last x has all values that were computed
        if not (self._apply(x) and self.limits.hold(x)):
            raise UserError(
                f"At token {self.time:,} a number may pass {EXACT:,.0f}, beyond which float64 is not exact; "
                "make the run shorter, or its numbers smaller."
            )
        return x

    def _apply(self, x: Matrix) -> bool:
        """Add what the blocks compute; return whether keys and queries are numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                for block in self.blocks:
                    block.apply(x)
            except (OverflowError, ValueError):  # of an infinite key, or one that is not a number
                return False
        return True


class _Limits:
    """Checks that no sum that the rows of some matrices make of x can reach 2^53, in whatever order it is added."""

    def __init__(self, tables: Sequence[Matrix]) -> None:
        self.rows = np.abs(np.concatenate(tables))
        self.most = np.zeros(self.rows.shape[1])
        """The largest magnitude so far of each dimension."""
        self.checked = np.zeros_like(self.most)
        """Magnitudes up to which no sum is too large; twice those of the past, so that few steps need a new check."""

    def hold(self, x: Matrix) -> bool:
        """Whether all sums are exact; not if one is not a number."""
        sizes = np.abs(x)
        if (sizes <= self.checked).all():
            return True
        self.most = np.maximum(self.most, sizes)
        for checked in (2 * self.most, self.most):
            if self._are_small(checked):
                self.checked = checked
                return True
        return self._are_small(sizes)

    def _are_small(self, sizes: Matrix) -> bool:
        return bool(sizes.max() < EXACT and (self.rows @ sizes).max() < EXACT)


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
