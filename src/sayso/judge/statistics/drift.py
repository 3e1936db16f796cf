"""Whether texts of one time differ from those of another: the Jensen-Shannon divergence of their words.

    JSD(P, Q) = H(M) - H(P) / 2 - H(Q) / 2 in bits, with M = P / 2 + Q / 2 and H the entropy

P and Q are the shares of the words in all texts of each time (Lin 1991, IEEE Transactions on Information Theory 37,
145). It is 0 for equal shares and 1 without a common word. Of finite samples it is never 0, so it is compared with its
values when the conversations are shuffled between both times (a permutation test): they are the sampled unit, because
the texts of one conversation are not independent.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sayso.judge.statistics.estimate import LEVEL, Floats

Words = Mapping[str, int]
_WORDS = 2_000  # the most frequent words have bins of their own; the rest share one
_TOLD = 8  # words named on each side
_SMALL = 1e-12  # differences by rounding


@dataclass(frozen=True)
class Drift:
    """How far the words of two times are apart."""

    divergence: float
    """In bits, from 0 to 1."""
    usual: tuple[float, float]
    """The range of 95 % of its values if nothing has changed."""
    p: float
    """Probability of a divergence at least as large if nothing has changed."""
    more: tuple[str, ...]
    """Words whose share has risen, those that matter most first."""
    fewer: tuple[str, ...]
    """Words whose share has fallen."""


def drift(
    now: Sequence[Words], before: Sequence[Words], generator: np.random.Generator, shuffles: int = 999
) -> Drift | None:
    """Compare the words of conversations, each with its counts; None if there are fewer than two, or none has words.

    The p value is (1 + shuffles at least as far apart) / (1 + shuffles) (Phipson and Smyth 2010).
    """
    talks = [*now, *before]
    total = sum((Counter(one) for one in talks), Counter[str]())
    if not (any(now) and any(before)):
        return None
    names = [name for name, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:_WORDS]]
    counts = _counts(talks, names)
    own = np.zeros((1 + shuffles, len(talks)), np.float64)
    own[0, : len(now)] = 1
    for row in range(1, 1 + shuffles):
        own[row, generator.permutation(len(talks))[: len(now)]] = 1
    first = own @ counts
    found = _divergences(first, counts.sum(0) - first)
    drawn = found[1:]
    p = (1 + int((drawn >= found[0] - _SMALL).sum())) / (1 + shuffles)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Drift(float(found[0]), (float(low), float(high)), p, *_changed(names, counts, len(now)))


def _counts(talks: Sequence[Words], names: Sequence[str]) -> Floats:
    """Return the counts of the named words and of all others, [conversations, words + 1]."""
    places = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(talks), len(names) + 1))
    for row, talk in enumerate(talks):
        for name, count in talk.items():
            counts[row, places.get(name, len(names))] += count
    return counts


def _divergences(first: Floats, second: Floats) -> Floats:
    """Return the divergence of each pair of rows of counts, [rows, words]; 0 if a row has no words."""
    sizes = first.sum(1), second.sum(1)
    p, q = (one / np.maximum(size, 1)[:, None] for one, size in zip((first, second), sizes, strict=True))
    bits = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.where((sizes[0] > 0) & (sizes[1] > 0), np.maximum(bits, 0.0), 0.0)


def _entropy(shares: Floats) -> Floats:
    return -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1)


def _changed(names: Sequence[str], counts: Floats, many: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that contribute most to the divergence, by whether their share has risen or fallen."""
    p, q = (part.sum(0)[:-1] / max(1.0, float(part.sum())) for part in (counts[:many], counts[many:]))
    middle = (p + q) / 2
    parts = sum(one * np.log2(np.where(one > 0, one, 1.0) / np.where(middle > 0, middle, 1.0)) for one in (p, q))
    order = [int(place) for place in np.argsort(-np.asarray(parts), kind="stable") if parts[place] > _SMALL]
    more, fewer = ([names[place] for place in order if sign * (p[place] - q[place]) > 0] for sign in (1, -1))
    return tuple(more[:_TOLD]), tuple(fewer[:_TOLD])
