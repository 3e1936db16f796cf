"""Text -> 64-bit hashes of its word n-grams, as numpy arrays: what dedup, decontamination and quality count with.

A word's hash comes from BLAKE2b, so it is the same in every process and on every machine (Python's own `hash` is not).
"""

import re
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
WORD = re.compile(r"\w+")
STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: the base of the polynomial over word hashes
KNOWN_WORDS = 1 << 20  # at most this many words are remembered in a process (about 120 MB)


def hash64(text: str) -> int:
    """Return a stable 64-bit hash of a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class _Words(dict[str, int]):
    """Remembers the hashes of words met, so that a common word is hashed once."""

    def __missing__(self, word: str) -> int:
        if len(self) >= KNOWN_WORDS:
            self.clear()
        value = self[word] = hash64(word)
        return value


_words = _Words()


def word_hashes(text: str) -> Hashes:
    """Return the hash of each word [W], lower-cased and without punctuation."""
    words = WORD.findall(text.lower())
    return np.fromiter(map(_words.__getitem__, words), dtype=np.uint64, count=len(words))


def ngram_hashes(words: Hashes, n: int) -> Hashes:
    """Return the hash of each run of `n` words [max(0, W - n + 1)]; a polynomial, then SplitMix64's mixer."""
    count = len(words) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    value = words[:count].copy()
    for offset in range(1, n):
        value *= STEP
        value += words[offset : offset + count]
    return mix(value)


def mix(value: Hashes) -> Hashes:
    """Mix 64-bit values so that each output bit depends on all input bits (SplitMix64's finalizer, Steele 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
