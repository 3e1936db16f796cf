"""Interpolated modified Kneser-Ney models of token ids (Chen and Goodman 1999, eq. 26 to 29).

The strongest model based on counts alone: a network that beats it has learned more than phrases. As in Heafield et al.
2013, a document begins with one <|bos|> that is only used as context, and an n-gram that begins with it keeps its raw
count, since nothing can precede it. N-grams are counted by sorting: the number of an n-gram is its index among the
sorted pairs (number of its first n-1 ids, last id).

N ids in all documents, D documents, V vocabulary size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts if there are too few counts to estimate them


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length."""

    keys: Ints
    """Context number * V + id, sorted."""
    share: _Floats
    """Discounted probability of each n-gram: (adjusted count - discount) / total of its context."""
    rest: _Floats
    """Probability left to the shorter context, by context number; 1 for a context that nothing follows."""


@dataclass(frozen=True)
class KneserNey:
    """A trained model."""

    orders: tuple[_Order, ...]
    """The n-grams by length, from 1."""
    vocab_size: int
    bos: int

    def bits(self, documents: Sequence[Sequence[int] | Ints]) -> _Floats:
        """Return the bits of each document, [D], given its ids without <|bos|>."""
        stream, index, owner = concatenate(documents, self.bos)
        bits = -np.log2(self.probabilities(stream, index))
        return np.bincount(owner[index > 0], weights=bits[index > 0], minlength=len(documents)).astype(np.float64)

    def probabilities(self, stream: Ints, index: Ints) -> _Floats:
        """Return P(id | the ids before it in its document), [N], for a stream and indices from `concatenate`."""
        probability = np.full(len(stream), 1.0 / self.vocab_size)
        context = np.zeros(len(stream), dtype=np.int64)  # number of the n-1 previous ids; -1: not in training
        for n, order in enumerate(self.orders, start=1):
            if not len(order.keys):  # no training document was this long
                break
            keys = context * self.vocab_size + stream
            at = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            seen = (order.keys[at] == keys) & (context >= 0)
            rest = np.where(context >= 0, order.rest[context], 1.0)
            probability = np.where(seen, order.share[at], 0.0) + rest * probability
            number = np.where(seen, at, -1)
            context = np.where(index >= n, np.concatenate(([-1], number[:-1])), -1)
        return probability


def train_kneser_ney(documents: Sequence[Sequence[int] | Ints], vocab_size: int, bos: int, order: int = 5) -> KneserNey:
    """Return the model of n-grams up to length `order` in documents, given as ids that never include `bos`."""
    stream, index, _ = concatenate(documents, bos)
    counted: list[tuple[Ints, Ints, Ints]] = []  # per order: sorted keys, raw counts, whether it starts at <|bos|>
    adjusted: list[Ints] = []
    positions = np.arange(len(stream))
    number = np.zeros(len(stream), dtype=np.int64)  # of the n-gram ending here, valid at `positions`
    for n in range(1, order + 1):
        context = number[positions - 1] if n > 1 else np.zeros(len(stream), dtype=np.int64)
        keys, example, counts, numbers = tally(context * vocab_size + stream[positions])
        example = positions[example]
        if n > 1:  # each n-gram is one distinct left neighbor of its last n-1 ids
            extended = np.bincount(number[example], minlength=len(counted[-1][0]))
            adjusted.append(np.where(counted[-1][2] == 1, counted[-1][1], extended))
        counted.append((keys, counts, (index[example] == n - 1).astype(np.int64)))
        number[positions] = numbers
        positions = positions[index[positions] >= n]
    adjusted.append(counted[-1][1])
    adjusted[0] = np.where(counted[0][0] == bos, 0, adjusted[0])  # <|bos|> is never predicted
    sizes = [1, *(len(keys) for keys, _, _ in counted[:-1])]
    tables = zip([keys for keys, _, _ in counted], adjusted, sizes, strict=True)
    orders = tuple(discount(keys, counts, vocab_size, contexts) for keys, counts, contexts in tables)
    return KneserNey(orders, vocab_size, bos)


def concatenate(documents: Sequence[Sequence[int] | Ints], bos: int) -> tuple[Ints, Ints, Ints]:
    """Return one stream with <|bos|> before each document, and each id's index in its document and document number."""
    lengths = np.array([len(document) + 1 for document in documents], dtype=np.int64)
    owner = np.repeat(np.arange(len(documents)), lengths)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(lengths) else lengths
    index = np.arange(int(lengths.sum())) - starts[owner]
    stream = np.full(len(index), bos, dtype=np.int64)
    if (index > 0).any():
        stream[index > 0] = np.concatenate([np.asarray(document, dtype=np.int64) for document in documents])
    return stream, index, owner


def tally(values: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return sorted distinct values, an index of each in `values`, their counts, and the inverse index.

    np.unique sorts stably to return the first index; here any index will do, and an unstable sort is faster.
    """
    order = np.argsort(values)
    ordered = values[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1])) if len(ordered) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(new)
    counts = np.diff(np.concatenate((starts, [len(values)])))
    inverse = np.empty(len(values), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    return ordered[starts], order[starts], counts, inverse


def discount(keys: Ints, counts: Ints, vocab_size: int, contexts: int) -> _Order:
    """Return the n-grams of one order from adjusted counts, with discounts for counts of 1, 2 and 3 or more."""
    discounts = np.array((0.0, *discounts_of(counts)))
    discounted = counts - discounts[np.minimum(counts, 3)]
    context = keys // vocab_size
    total = np.bincount(context, weights=counts, minlength=contexts)
    kept = np.bincount(context, weights=discounted, minlength=contexts)
    divisor = np.maximum(total, 1)
    rest = np.where(total > 0, (total - kept) / divisor, 1.0)
    return _Order(keys, discounted / divisor[context], rest)


def discounts_of(counts: Ints) -> tuple[float, float, float]:
    """Return D1, D2 and D3+, given the counts of all n-grams (Chen and Goodman 1999, eq. 26)."""
    t = [float((counts == k).sum()) for k in range(5)]
    if min(t[1:4]) == 0:
        return FALLBACK
    y = t[1] / (t[1] + 2 * t[2])
    one, two, many = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return (one, two, many) if min(one, two, many) >= 0 else FALLBACK
