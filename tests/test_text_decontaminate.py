"""Contamination and splits: decided by n-grams and by content, the same on every machine."""

from pathlib import Path

import numpy as np
import pytest

from sayso.text.decontaminate import ngram_sets, open_sets, overlaps, save_sets
from sayso.text.ngrams import hash64, ngram_hashes, word_hashes
from sayso.text.split import TEST, TRAIN, VAL, split_of

QUESTION = "Janet's ducks lay sixteen eggs per day and she eats three for breakfast every morning with her friends."
GOLDEN = int.from_bytes(bytes.fromhex("815db20c06d4124a"), "little")


def test_thirteen_words_in_common_are_found_and_twelve_are_not() -> None:
    """Case and punctuation do not matter, the number of words does."""
    sets = ngram_sets([QUESTION], 13)
    words = QUESTION.replace("'", " ").upper().replace(".", "!").split()
    assert overlaps(word_hashes("So: " + ", ".join(words[2:15]) + " and so on"), sets)
    assert not overlaps(word_hashes("So: " + ", ".join(words[2:14]) + " and so on"), sets)


def test_short_evaluation_texts_count_whole_and_shorter_ones_not_at_all() -> None:
    """A text of 8 to 12 words must be held whole; one of 7 words is no evidence."""
    sets = ngram_sets(["what did the old man see by the river", "who took the red kite today"], 13)
    assert list(sets) == [9]
    assert overlaps(word_hashes("I asked: what did the old man see by the river?"), sets)
    assert not overlaps(word_hashes("who took the red kite today"), sets)


def test_n_grams_equal_those_of_plain_python() -> None:
    """Equal runs of words have equal hashes and different runs different ones."""
    words = list("abcabcdab")
    grams = [tuple(words[place : place + 3]) for place in range(len(words) - 2)]
    hashes = ngram_hashes(word_hashes(" ".join(words)), 3).tolist()
    assert len(set(hashes)) == len(set(grams))
    assert len(set(zip(hashes, grams, strict=True))) == len(set(grams))


def test_saved_sets_are_mapped_back(tmp_path: Path) -> None:
    """What workers map is what was computed; a folder without sets has none."""
    assert open_sets(tmp_path / "none") == {}
    sets = ngram_sets([QUESTION], 13)
    save_sets(sets, tmp_path)
    assert np.array_equal(open_sets(tmp_path)[13], sets[13])


def test_hashes_are_the_same_on_every_machine() -> None:
    """A golden number: splits and duplicates depend on it."""
    assert hash64("Sayso") == GOLDEN


def test_splits_have_their_shares_and_do_not_move() -> None:
    """About the asked shares; a text keeps its split when others come and go."""
    hashes = np.array([hash64(f"text {number}") for number in range(20_000)], np.uint64)
    split = split_of(hashes, 0.02, 0.03)
    assert abs(np.mean(split == VAL) - 0.02) < 0.004
    assert abs(np.mean(split == TEST) - 0.03) < 0.004
    assert np.array_equal(split_of(hashes[::7], 0.02, 0.03), split[::7])


def test_a_tiny_corpus_still_has_a_val_and_a_test_document() -> None:
    """Three documents give one of each; two give train and test; a share of 0 gives none."""
    hashes = np.array([hash64(text) for text in ("a", "b", "c")], np.uint64)
    assert sorted(split_of(hashes, 0.02, 0.02).tolist()) == [TRAIN, VAL, TEST]
    assert split_of(hashes, 0.0, 0.0).tolist() == [TRAIN] * 3
    assert TRAIN in split_of(hashes[:2], 0.02, 0.02).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_training_is_never_empty(count: int) -> None:
    """Whatever the texts and the shares are, something is trained on."""
    for number in range(200):
        hashes = np.array([hash64(f"{number} {place}") for place in range(count)], np.uint64)
        for val, test in ((0.02, 0.02), (0.5, 0.49), (0.0, 0.99), (0.0, 0.0)):
            assert TRAIN in split_of(hashes, val, test).tolist()
    assert split_of(np.empty(0, np.uint64), 0.1, 0.1).tolist() == []
