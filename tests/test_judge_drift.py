"""Drift of texts: the divergence is the published one, and its p value keeps its promise."""

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from sayso.judge.statistics.drift import drift

Talks = list[Counter[str]]


def talks(generator: np.random.Generator, count: int, shares: list[float]) -> Talks:
    """Conversations of 20 words each from a distribution over the letters."""
    drawn = generator.choice(list("abcdefgh"[: len(shares)]), size=(count, 20), p=shares)
    return [Counter(map(str, row)) for row in drawn]


def test_the_divergence_is_scipys() -> None:
    """Of the shares of all words of both sides."""
    generator = np.random.default_rng(0)
    now, before = talks(generator, 9, [0.5, 0.3, 0.2]), talks(generator, 7, [0.2, 0.3, 0.5])
    found = drift(now, before, generator, 9)
    sums = [sum(side, Counter[str]()) for side in (now, before)]
    vectors = [[side[letter] for letter in "abc"] for side in sums]
    assert found is not None
    assert found.divergence == pytest.approx(jensenshannon(*vectors, base=2) ** 2, abs=1e-12)


def test_equal_texts_do_not_drift_and_disjoint_ones_do_fully() -> None:
    """The first with p = 1, the others with the least p that the shuffles allow."""
    generator = np.random.default_rng(0)
    same = [Counter("aab")] * 30
    found = drift(same, same, generator, 99)
    assert found is not None
    assert (found.divergence, found.p, found.usual) == (0, 1, (0, 0))
    found = drift([Counter("a")] * 30, [Counter("b")] * 30, generator, 99)
    assert found is not None
    assert (found.divergence, found.p) == (pytest.approx(1), 0.01)
    assert (found.more, found.fewer) == (("a",), ("b",))


def test_what_changed_most_is_named_first() -> None:
    generator = np.random.default_rng(0)
    now, before = talks(generator, 200, [0.5, 0.1, 0.4]), talks(generator, 200, [0.1, 0.4, 0.5])
    found = drift(now, before, generator, 99)
    assert found is not None
    assert (found.more[0], found.fewer[0], found.p) == ("a", "b", 0.01)
    assert found.divergence > found.usual[1]


def test_without_a_change_p_is_rarely_small() -> None:
    """At most 5 in 100 below 0.05, but for chance: of 200 tries 10 are expected, and more than 20 in one of 2,000."""
    generator = np.random.default_rng(1)
    found = [
        drift(talks(generator, 12, [0.25] * 4), talks(generator, 9, [0.25] * 4), generator, 99) for _ in range(200)
    ]
    small = sum(one is not None and one.p <= 0.05 for one in found)
    assert 1 <= small <= 20
    inside = sum(one is not None and one.usual[0] <= one.divergence <= one.usual[1] for one in found)
    assert inside > 170


@pytest.mark.parametrize("sides", [([], [Counter("a")]), ([Counter("a")], []), ([Counter[str]()], [Counter("a")])])
def test_without_words_there_is_nothing_to_compare(sides: tuple[Talks, Talks]) -> None:
    assert drift(*sides, np.random.default_rng(0), 9) is None


def test_rare_words_count_as_one() -> None:
    """Beyond the most frequent 2,000, so that the work has a limit; the divergence is that of the merged words."""
    now = [Counter({"a": 5000, **{f"n{i}": 1 for i in range(3000)}})]
    before = [Counter({"a": 5000, **{f"o{i}": 1 for i in range(3000)}})]
    found = drift(now, before, np.random.default_rng(0), 9)
    assert found is not None
    assert 0 < found.divergence < 0.3
