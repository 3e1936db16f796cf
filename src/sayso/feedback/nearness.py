"""How near short texts are: takes texts, returns the cosine of their TF-IDF vectors, and what follows from it.

A word is two or more letters, digits or underscores, in lower case. Its weight in a text is its number of occurrences
times ln((1 + n) / (1 + d)) + 1, where d of n texts contain it (smoothed inverse document frequency, as in
scikit-learn's TfidfVectorizer); vectors have length 1.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

Vector = Mapping[str, float]
_WORD = re.compile(r"\b\w\w+\b")
_SHOWN = 3  # suggestions
_ORDERED = 300  # texts that are put in an order, which takes time quadratic in their number


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.lower())


def vectors(texts: Sequence[str]) -> list[Vector]:
    """Return the TF-IDF vector of each text; one without words is empty."""
    counts = [Counter(words(text)) for text in texts]
    known = Counter(word for count in counts for word in count)
    weight = {word: math.log((1 + len(texts)) / (1 + found)) + 1 for word, found in known.items()}
    return [_unit({word: times * weight[word] for word, times in count.items()}) for count in counts]


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine of two vectors of length 1, from 0 to 1; 0 with an empty one."""
    small, large = sorted((one, other), key=len)
    return sum(value * large.get(word, 0.0) for word, value in small.items())


def middle(some: Iterable[Vector]) -> Vector:
    """Return the mean of vectors, scaled to length 1."""
    total: dict[str, float] = defaultdict(float)
    for vector in some:
        for word, value in vector.items():
            total[word] += value
    return _unit(total)


def nearest_groups(vector: Vector, groups: Mapping[int, Vector]) -> list[tuple[int, float]]:
    """Return the groups whose middles are nearest to a vector, nearest first, with the cosine; without those at 0."""
    found = sorted(
        ((cosine(vector, each), group) for group, each in groups.items()), key=lambda pair: (-pair[0], pair[1])
    )
    return [(group, near) for near, group in found[:_SHOWN] if near > 0]


def side_by_side(those: Sequence[Vector]) -> list[int]:
    """Return an order in which similar texts follow each other: the first, then always the nearest that is left.

    Only the first 300 are ordered like this; the others follow as they are.
    """
    left, order = list(range(1, min(len(those), _ORDERED))), [0][: len(those)]
    while left:
        last = those[order[-1]]
        order.append(max(left, key=lambda one: (cosine(last, those[one]), -one)))
        left.remove(order[-1])
    return [*order, *range(_ORDERED, len(those))]


def _unit(vector: Mapping[str, float]) -> Vector:
    length = math.sqrt(sum(value * value for value in vector.values()))
    return {word: value / length for word, value in vector.items()} if length else {}
