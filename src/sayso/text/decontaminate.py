"""Evaluation texts -> a set of word n-gram hashes; a document that holds one of them must not be trained on.

As in GPT-3 (Brown et al. 2020, appendix C) an n-gram is 13 words, lower-cased and without punctuation. A text of 8 to
12 words is taken whole; a shorter one is too common to be evidence.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from sayso.text.ngrams import Hashes, ngram_hashes, word_hashes

SHORTEST = 8  # words of a text that is taken whole


def ngram_sets(texts: Iterable[str], n: int) -> dict[int, Hashes]:
    """Return, for each length in words that occurs, the sorted hashes of the texts' n-grams (8 bytes each)."""
    found: dict[int, list[Hashes]] = defaultdict(list)
    for text in texts:
        words = word_hashes(text)
        length = min(n, len(words))
        if length >= min(n, SHORTEST):
            found[length].append(np.unique(ngram_hashes(words, length)))
    return {length: np.unique(np.concatenate(hashes)) for length, hashes in sorted(found.items())}


def save_sets(sets: dict[int, Hashes], folder: Path) -> None:
    """Write the sets where worker processes can map them: one copy in memory for all."""
    for length, hashes in sets.items():
        np.save(folder / f"overlap-{length}.npy", hashes)


@lru_cache(maxsize=1)
def open_sets(folder: Path) -> dict[int, Hashes]:
    """Map the sets of a folder."""
    files = sorted(folder.glob("overlap-*.npy"))
    return {int(file.stem.split("-")[1]): np.load(file, mmap_mode="r") for file in files}


def overlaps(words: Hashes, sets: dict[int, Hashes]) -> bool:
    """Whether a document, given its word hashes, holds an n-gram of the evaluation texts."""
    return any(_contains(hashes, ngram_hashes(words, length)) for length, hashes in sets.items())


def _contains(known: Hashes, asked: Hashes) -> bool:
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return bool(np.any(known[place] == asked))
