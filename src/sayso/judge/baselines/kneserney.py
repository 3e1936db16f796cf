"""Token ids of documents -> an interpolated modified Kneser-Ney model, and the bits it needs for other documents.

The strongest model that only counts: what a network must beat to have learnt more than phrases. Chen and Goodman
1999 (eq. 26 to 29 there), with the convention of Heafield et al. 2013 for starts: a document begins with one <|bos|>
that is only ever context, and an n-gram that begins with it keeps its raw count, since nothing can stand before it.
Everything is sorting: an n-gram's number is its place among the sorted pairs (number of its first n-1 ids, last id).

N ids in all documents, D documents, V vocabulary size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts for counts too few to estimate them from


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length: sorted keys (context number * V + id), their discounted share, the context's rest."""

    keys: Ints
    share: _Floats  # (adjusted count - discount) / total of its context
    rest: _Floats  # by context number: the mass left to the next shorter context (1 where nothing followed)


@dataclass(frozen=True)
class KneserNey:
    """`orders[n-1]` holds the n-grams; `vocab_size` gives the uniform floor that makes every id possible."""

    orders: tuple[_Order, ...]
    vocab_size: int
    bos: int

    def bits(self, documents: Sequence[Sequence[int] | Ints]) -> _Floats:
        """Bits for all ids of each document (ids without <|bos|>) -> [D]."""
        stream, place, owner = concatenate(documents, self.bos)
        bits = -np.log2(self.probabilities(stream, place))
        return np.bincount(owner[place > 0], weights=bits[place > 0], minlength=len(documents)).astype(np.float64)

    def probabilities(self, stream: Ints, place: Ints) -> _Floats:
        """P(id | the ids before it in its document) at every position of a laid-out stream -> [N]."""
        chance = np.full(len(stream), 1.0 / self.vocab_size)
        context = np.zeros(len(stream), dtype=np.int64)  # number of the n-1 ids before; -1: never seen
        for n, order in enumerate(self.orders, start=1):
            if not len(order.keys):  # no training document was this long
                break
            keys = context * self.vocab_size + stream
            at = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            seen = (order.keys[at] == keys) & (context >= 0)
            rest = np.where(context >= 0, order.rest[context], 1.0)
            chance = np.where(seen, order.share[at], 0.0) + rest * chance
            number = np.where(seen, at, -1)
            context = np.where(place >= n, np.concatenate(([-1], number[:-1])), -1)
        return chance


def train_kneser_ney(documents: Sequence[Sequence[int] | Ints], vocab_size: int, bos: int, order: int = 5) -> KneserNey:
    """Count the n-grams of `documents` (ids without <|bos|>; none may hold `bos`) up to length `order`."""
    stream, place, _ = concatenate(documents, bos)
    counted: list[tuple[Ints, Ints, Ints]] = []  # per order: sorted keys, raw counts, whether it starts at <|bos|>
    adjusted: list[Ints] = []
    positions = np.arange(len(stream))
    number = np.zeros(len(stream), dtype=np.int64)  # of the n-gram that ends here, valid at `positions`
    for n in range(1, order + 1):
        context = number[positions - 1] if n > 1 else np.zeros(len(stream), dtype=np.int64)
        keys, example, counts, numbers = tally(context * vocab_size + stream[positions])
        example = positions[example]
        if n > 1:  # a distinct n-gram is one distinct left neighbour of its last n-1 ids
            extended = np.bincount(number[example], minlength=len(counted[-1][0]))
            adjusted.append(np.where(counted[-1][2] == 1, counted[-1][1], extended))
        counted.append((keys, counts, (place[example] == n - 1).astype(np.int64)))
        number[positions] = numbers
        positions = positions[place[positions] >= n]
    adjusted.append(counted[-1][1])
    adjusted[0] = np.where(counted[0][0] == bos, 0, adjusted[0])  # never predicted
    sizes = [1, *(len(keys) for keys, _, _ in counted[:-1])]
    tables = zip([keys for keys, _, _ in counted], adjusted, sizes, strict=True)
    orders = tuple(discount(keys, counts, vocab_size, contexts) for keys, counts, contexts in tables)
    return KneserNey(orders, vocab_size, bos)


def concatenate(documents: Sequence[Sequence[int] | Ints], bos: int) -> tuple[Ints, Ints, Ints]:
    """Documents -> one stream with <|bos|> before each, every id's place in its document, and its document's number."""
    lengths = np.array([len(document) + 1 for document in documents], dtype=np.int64)
    owner = np.repeat(np.arange(len(documents)), lengths)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(lengths) else lengths
    place = np.arange(int(lengths.sum())) - starts[owner]
    stream = np.full(len(place), bos, dtype=np.int64)
    if (place > 0).any():
        stream[place > 0] = np.concatenate([np.asarray(document, dtype=np.int64) for document in documents])
    return stream, place, owner


def tally(values: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """-> sorted distinct values, an index where each occurs, how often, and for every value its place among them.

    np.unique sorts stably to give the first index; any index will do here, and a plain sort is faster.
    """
    order = np.argsort(values)
    ordered = values[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1])) if len(ordered) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(new)
    counts = np.diff(np.concatenate((starts, [len(values)])))
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return ordered[starts], order[starts], counts, place


def discount(keys: Ints, counts: Ints, vocab_size: int, contexts: int) -> _Order:
    """Adjusted counts of one order -> shares and rests, with one discount each for counts of 1, 2 and 3 or more."""
    discounts = np.array((0.0, *discounts_of(counts)))
    taken = discounts[np.minimum(counts, 3)]
    context = keys // vocab_size
    total = np.bincount(context, weights=counts, minlength=contexts)
    kept = np.bincount(context, weights=counts - taken, minlength=contexts)
    some = np.maximum(total, 1)
    rest = np.where(total > 0, (total - kept) / some, 1.0)
    return _Order(keys, (counts - taken) / some[context], rest)


def discounts_of(counts: Ints) -> tuple[float, float, float]:
    """D1, D2, D3+ from how many n-grams occur once to four times (Chen and Goodman 1999, eq. 26)."""
    t = [float((counts == k).sum()) for k in range(5)]
    if min(t[1:4]) == 0:
        return FALLBACK
    y = t[1] / (t[1] + 2 * t[2])
    one, two, many = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return (one, two, many) if min(one, two, many) >= 0 else FALLBACK  # never above k, as nothing there is negative
