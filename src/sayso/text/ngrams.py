"""Hash the word n-grams of a text to 64 bits, as numpy arrays, for deduplication, decontamination and quality rules.

In scripts without spaces between words, each character is a word; `words_of` returns the equivalent number of words.
A word's hash is a polynomial over its characters, so it is the same in every process and on every machine (Python's
own `hash` is not). All words of a text are hashed at once: with S the running sum of c_i P^i modulo 2^64, the word from
s to e has (S_e - S_s) P^-s, wherever it occurs in the text (P is odd, so it has an inverse).
"""

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from sayso.text.characters import DENSE, LOOSE, WORD, code_points, kinds, runs

Hashes = NDArray[np.uint64]
STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: the base of the polynomial over word hashes
PER_WORD = (2, 4)  # characters of DENSE and of LOOSE scripts per English word, roughly
BASE = 0xD1342543DE82EF95  # P
_OWN = DENSE | LOOSE
_BLOCK = 1 << 15  # characters at a time, so that their arrays stay in a core's cache


def hash64(text: str) -> int:
    """Return a stable 64-bit hash of a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def word_hashes(text: str) -> Hashes:
    """Return the hash of each word [W], lower-cased and without punctuation."""
    points = code_points(text.lower())
    found = [_word_hashes(*block) for block in _blocks(points)]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def words_of(text: str, hashes: Hashes) -> float:
    """Return the equivalent number of words of a text, given its word hashes."""
    if text.isascii():
        return float(len(hashes))
    found = kinds(code_points(text.lower()))
    dense, loose = (int(np.count_nonzero(found & kind)) for kind in (DENSE, LOOSE))
    return len(hashes) - dense * (1 - 1 / PER_WORD[0]) - loose * (1 - 1 / PER_WORD[1])


def _blocks(
    points: NDArray[np.uint32],
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield blocks of characters that end between words, which of them are part of a word, and which are a word alone.

    Only a "word" of more than `_BLOCK` characters is split.
    """
    start = 0
    while start < len(points):
        block = points[start : start + _BLOCK]
        kind = kinds(block)
        own = (kind & _OWN) > 0
        is_word = ((kind & WORD) > 0) & ~own
        if start + _BLOCK < len(points) and is_word[-1]:
            gaps = np.flatnonzero(~is_word)
            if len(gaps):
                end = gaps[-1] + 1
                block, is_word, own = block[:end], is_word[:end], own[:end]
        yield block, is_word, own
        start += len(block)


def _word_hashes(points: NDArray[np.uint32], is_word: NDArray[np.bool_], own: NDArray[np.bool_]) -> Hashes:
    starts, ends = runs(is_word)
    if own.any():
        alone = np.flatnonzero(own)
        starts, ends = np.concatenate([starts, alone]), np.concatenate([ends, alone + 1])
        order = np.argsort(starts)
        starts, ends = starts[order], ends[order]
    powers, inverses = _powers()
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum(points * powers[: len(points)], out=sums[1:])
    return mix((sums[ends] - sums[starts]) * inverses[starts])


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """Return P^i and P^-i modulo 2^64 for the positions of a block."""
    powers, inverses = (np.full(_BLOCK, base, np.uint64) for base in (BASE, pow(BASE, -1, 2**64)))
    powers[0] = inverses[0] = 1
    return np.cumprod(powers), np.cumprod(inverses)


def ngram_hashes(words: Hashes, n: int) -> Hashes:
    """Return the hash of each run of `n` words [max(0, W - n + 1)]: a polynomial, then SplitMix64's mixer."""
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
