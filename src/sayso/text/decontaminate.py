"""Build a set of word n-gram hashes from evaluation texts; a document that contains one of them must not be trained on.

As in GPT-3 (Brown et al. 2020, appendix C) an n-gram is 13 words, lower-cased and without punctuation. A text of 8 to
12 words is one n-gram; a shorter one is too common to be evidence. In scripts without spaces between words, n-grams
consist of characters and are as long as about 13 words: 26 in Chinese, 52 in Thai.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from sayso.text.clean import clean
from sayso.text.ngrams import STEP, Hashes, mix, ngram_hashes, word_hashes, words_of

SHORTEST = 8  # words of a text that becomes one n-gram
GRID = 4  # above n, lengths are multiples of this, so that few lengths must be searched


def ngram_sets(texts: Iterable[str], n: int, counts: Counter[str] | None = None) -> dict[int, Hashes]:
    """Return, for each length that occurs, the sorted hashes of the texts' n-grams (8 bytes each).

    Texts are cleaned like documents. `counts` is filled with the number of "usable" and "too_short" ones.
    """
    found: dict[int, list[Hashes]] = defaultdict(list)
    counts = Counter() if counts is None else counts
    for raw in texts:
        text = clean(raw)
        words = word_hashes(text)
        length = _length(len(words), words_of(text, words), n)
        counts["usable" if length else "too_short"] += 1
        if length:
            found[length].append(np.unique(ngram_hashes(words, length)))
    return {length: np.unique(np.concatenate(hashes)) for length, hashes in sorted(found.items())}


def union(sets: Iterable[dict[int, Hashes]]) -> dict[int, Hashes]:
    """Return the union of several sets."""
    found: dict[int, list[Hashes]] = defaultdict(list)
    for one in sets:
        for length, hashes in one.items():
            found[length].append(hashes)
    return {length: np.unique(np.concatenate(hashes)) for length, hashes in sorted(found.items())}


def save_sets(sets: dict[int, Hashes], folder: Path) -> None:
    """Write the sets to files that worker processes map into memory, sharing one copy."""
    for length, hashes in sets.items():
        np.save(folder / f"overlap-{length}.npy", hashes)


@lru_cache(maxsize=1)
def open_sets(folder: Path) -> dict[int, Hashes]:
    """Map the sets of a folder."""
    files = sorted(folder.glob("overlap-*.npy"))
    return {int(file.stem.split("-")[1]): np.load(file, mmap_mode="r") for file in files}


def overlaps(words: Hashes, sets: dict[int, Hashes]) -> bool:
    """Whether a document, given its word hashes, contains an n-gram of the evaluation texts."""
    value = words
    for length in range(1, min(max(sets, default=0), len(words)) + 1):
        if length > 1:
            value = value[:-1] * STEP + words[length - 1 :]
        if length in sets and _contains(sets[length], mix(value)):
            return True
    return False


def _length(pieces: int, words: float, n: int) -> int:
    """Return the n-gram length in pieces for a text of `pieces` pieces, equivalent to `words` words; 0 = too short."""
    if not pieces or words < min(n, SHORTEST):
        return 0
    length = min(pieces, round(n * pieces / words))
    return length if length <= n else max(n, length - length % GRID)


def _contains(known: Hashes, hashes: Hashes) -> bool:
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return bool(np.any(known[place] == hashes))
