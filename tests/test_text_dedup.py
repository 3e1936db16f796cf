"""Duplicates: the estimate agrees with brute force, and the right documents are dropped."""

from itertools import combinations

import numpy as np
import pytest

from sayso.text.dedup import (
    BANDS,
    PERMUTATIONS,
    ROWS,
    NearDuplicates,
    SignatureLookup,
    band_keys,
    first_of_each,
    signature,
)
from sayso.text.ngrams import Hashes, ngram_hashes, word_hashes


def corpus(seed: int, originals: int, copies: int) -> list[str]:
    """Return random texts of 60 to 200 words, each with copies in which some words are changed."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(originals):
        words = rng.integers(0, 3000, size=rng.integers(60, 200))
        texts.append(words)
        for _ in range(copies):
            copy = words.copy()
            changed = rng.random(len(copy)) < rng.choice([0.005, 0.01, 0.02, 0.04, 0.08])
            copy[changed] = rng.integers(0, 3000, size=int(changed.sum()))
            texts.append(copy)
    return [" ".join(f"w{word}" for word in words) for words in texts]


def jaccard(a: Hashes, b: Hashes) -> float:
    """Return the true similarity of two texts' sets of 5-word shingles."""
    one, two = set(ngram_hashes(a, 5).tolist()), set(ngram_hashes(b, 5).tolist())
    return len(one & two) / len(one | two)


def dropped(texts: list[str], threshold: float = 0.8) -> list[int]:
    """Return the texts that MinHash, bands and check drop."""
    signatures = np.array([signature(word_hashes(text)) for text in texts])
    finder = NearDuplicates(threshold)
    for band, keys in enumerate(band_keys(signatures)):
        finder.add_band(band, keys)
    return finder.dropped(SignatureLookup([signatures]))


def test_the_estimate_is_unbiased_with_the_theoretical_error() -> None:
    """Over all copies, the mean error is near 0 and its spread near sqrt(s (1 - s) / K)."""
    words = [word_hashes(text) for text in corpus(1, 60, 3)]
    signatures = [signature(own) for own in words]
    errors, expected = [], []
    for first in range(0, len(words), 4):
        for a, b in combinations(range(first, first + 4), 2):
            true = jaccard(words[a], words[b])
            errors.append(float(np.mean(signatures[a] == signatures[b])) - true)
            expected.append(true * (1 - true) / PERMUTATIONS)
    assert abs(np.mean(errors)) < 0.006
    assert np.mean(np.square(errors)) == pytest.approx(np.mean(expected), rel=0.25)


def test_a_pair_shares_a_band_as_often_as_the_formula_says() -> None:
    """1 - (1 - s^rows)^bands, over pairs of signatures with similarity s."""
    rng = np.random.default_rng(0)
    for s in (0.5, 0.6, 0.7, 0.8):
        one = rng.integers(0, 2**32, size=(2000, PERMUTATIONS), dtype=np.uint32)
        two = np.where(rng.random(one.shape) < s, one, one + 1).astype(np.uint32)
        shared = (band_keys(one) == band_keys(two)).any(axis=0).mean()
        assert shared == pytest.approx(1 - (1 - s**ROWS) ** BANDS, abs=0.035)


def test_what_brute_force_drops_is_dropped() -> None:
    """Against greedy brute force with true Jaccard: no clear duplicate is kept, nothing clearly distinct is dropped."""
    texts = corpus(2, 80, 4)
    words = [word_hashes(text) for text in texts]
    gone = set(dropped(texts))
    kept = [place for place in range(len(texts)) if place not in gone]
    closest = {
        place: max((jaccard(words[place], words[other]) for other in kept if other < place), default=0.0)
        for place in range(len(texts))
    }
    assert [place for place in kept if closest[place] > 0.9] == []
    assert [place for place in gone if closest[place] < 0.7] == []
    brute = {place for place in closest if closest[place] >= 0.8}
    assert len(brute & gone) / len(brute) > 0.9
    assert len(brute & gone) / len(gone) > 0.9


def test_a_chain_of_lookalikes_keeps_what_is_unlike_its_head() -> None:
    """Only similarity to a kept text counts, so that small steps do not remove the whole chain."""
    words = [f"w{number}" for number in range(100)]
    chain = [" ".join(words[step * 6 : step * 6 + 100] + [f"n{n}" for n in range(step * 6)]) for step in range(10)]
    gone = dropped(chain)
    assert gone
    assert 0 not in gone
    assert len(gone) < 8


def test_templated_texts_with_different_words_are_kept() -> None:
    """Texts of one template with other names, places and things are below the threshold."""
    rng = np.random.default_rng(3)
    texts = [
        " ".join(
            f"one day {a} took the {b} to the {c} and there she met {d}" for a, b, c, d in rng.integers(0, 50, (6, 4))
        )
        for _ in range(200)
    ]
    assert dropped(texts) == []


def test_a_long_text_is_processed_in_blocks() -> None:
    """A signature over more shingles than a block equals the minimum over any division of them."""
    words = word_hashes(" ".join(f"w{number}" for number in range(10_000)))
    halves = np.minimum(signature(words[:6000]), signature(words[5996:]))
    assert np.array_equal(signature(words), halves)


def test_the_first_of_equal_texts_is_kept() -> None:
    """Of exact duplicates, the first remains."""
    hashes = np.array([5, 3, 5, 9, 3, 3], np.uint64)
    assert first_of_each(hashes).tolist() == [True, True, False, True, False, False]


def test_texts_too_short_for_a_shingle_are_one() -> None:
    """Two words are one shingle; a text without words has a signature, too."""
    assert np.array_equal(signature(word_hashes("Good morning!")), signature(word_hashes("good morning")))
    assert not np.array_equal(signature(word_hashes("good morning")), signature(word_hashes("good night")))
    assert len(signature(word_hashes(""))) == PERMUTATIONS


def test_near_copies_are_found_in_scripts_without_spaces() -> None:
    """Changing a character in every fifth clause leaves most runs of five characters unchanged."""
    rng = np.random.default_rng(3)
    clauses = ["".join(chr(0x4E00 + place) for place in rng.integers(0, 3000, size=20)) for _ in range(60)]
    copy = [f"{clause[:9]}改{clause[10:]}" if place % 5 == 0 else clause for place, clause in enumerate(clauses)]
    other = ["".join(rng.permutation(list(clause))) for clause in clauses]
    assert dropped(["，".join(texts) for texts in (clauses, other, copy)]) == [2]
