"""Select the documents to keep by word n-grams: drop exact duplicates, and near-duplicates of earlier documents.

MinHash (Broder 1997) estimates the Jaccard similarity of two documents' sets of 5-word shingles; locality-sensitive
hashing (Leskovec et al., Mining of Massive Datasets, 3.4) finds the pairs worth estimating. A document is dropped only
if its estimate against a document that was *kept* reaches the threshold, so that a chain of similar documents does not
remove a whole cluster.

K = 120 permutations, in 20 bands of 6 rows: a pair of Jaccard s shares a band with probability 1 - (1 - s^6)^20, which
is 0.998 at s = 0.8; the estimate's standard error there is sqrt(s(1-s)/K) = 0.037.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sayso.text.ngrams import STEP, Hashes, mix, ngram_hashes

SHINGLE = 5  # words
BANDS, ROWS = 20, 6
PERMUTATIONS = BANDS * ROWS
_BLOCK = 512  # shingles at a time: their hashes, 240 KB, stay in a core's cache
RIVALS = 100  # documents compared per shared band key
Signatures = NDArray[np.uint32]
_Numbers = NDArray[np.int32]

_draw = np.random.Generator(np.random.PCG64(0x5A150))
# Multiplying by an odd number and adding permutes the 32-bit integers; hashes are reduced to their high halves.
FACTORS = _draw.integers(0, 2**31, size=(PERMUTATIONS, 1), dtype=np.uint32) * np.uint32(2) + np.uint32(1)
TERMS = _draw.integers(0, 2**32, size=(PERMUTATIONS, 1), dtype=np.uint32)


def signature(words: Hashes) -> Signatures:
    """Return the MinHash signature [K] of a document given its word hashes; fewer than 5 words are one shingle."""
    shingles = (ngram_hashes(words, min(SHINGLE, max(1, len(words)))) >> np.uint64(32)).astype(np.uint32)
    lowest = np.full(PERMUTATIONS, 0xFFFFFFFF, np.uint32)
    for start in range(0, len(shingles), _BLOCK):
        hashed = shingles[start : start + _BLOCK] * FACTORS
        hashed += TERMS
        np.minimum(lowest, hashed.min(axis=1), out=lowest)
    return lowest


def band_keys(signatures: Signatures) -> NDArray[np.uint64]:
    """Return one key per band [BANDS, D] for signatures [D, K]; documents with an equal key are candidates."""
    rows = signatures.reshape(len(signatures), BANDS, ROWS).astype(np.uint64)
    keys = np.zeros((len(signatures), BANDS), np.uint64)
    for row in range(ROWS):
        keys = mix(keys * STEP + rows[:, :, row])
    return np.ascontiguousarray(keys.T)


def first_of_each(hashes: Hashes) -> NDArray[np.bool_]:
    """Return which documents [D] are the first with their content hash. Needs 24 bytes per document."""
    _, firsts = np.unique(hashes, return_index=True)
    keep = np.zeros(len(hashes), np.bool_)
    keep[firsts] = True
    return keep


def shared_keys(keys: Hashes) -> tuple[_Numbers, _Numbers, int]:
    """Return the documents that share a key of one band [D] with another, the keys' numbers, and how many they are."""
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.empty(0, np.int32), np.empty(0, np.int32), 0
    place = np.minimum(np.searchsorted(repeated, keys), len(repeated) - 1)
    documents = np.flatnonzero(repeated[place] == keys)
    return documents.astype(np.int32), place[documents].astype(np.int32), len(repeated)


class NearDuplicates:
    """Finds near-duplicates in document order. Needs about 0.8 KB of memory per candidate."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.documents: list[_Numbers] = []  # by band: documents that share a key, and the key's number over all bands
        self.keys: list[_Numbers] = []
        self.count = 0

    def add_band(self, band: int, keys: Hashes) -> None:
        """Add the keys [D] of one band of all documents; bands come in order."""
        assert band == len(self.documents), band
        documents, numbers, count = shared_keys(keys)
        self.documents.append(documents)
        self.keys.append(numbers + np.int32(self.count))
        self.count += count

    def dropped(self, signatures: "SignatureLookup") -> list[int]:
        """Return the documents that are near-duplicates of an earlier kept one, in order.

        Of the kept documents that share a key, only the last `RIVALS` are compared, so that the work stays linear even
        if thousands share boilerplate.
        """
        documents, keys = np.concatenate(self.documents), np.concatenate(self.keys)
        assert max(len(keys), self.count) < 2**31, "more candidates than 32-bit numbers"
        order = np.argsort(documents, kind="stable")
        documents, keys = documents[order], keys[order]
        starts = np.flatnonzero(np.diff(documents, prepend=-1))
        kept = Chains(self.count, len(documents))
        dropped = []
        for start, stop in pairwise([*starts.tolist(), len(documents)]):
            own, places = int(documents[start]), keys[start:stop].tolist()
            rivals = {int(documents[entry]) for key in places for entry in kept.last(key, RIVALS)}
            if rivals and _closest(signatures, own, sorted(rivals)) >= self.threshold:
                dropped.append(own)
                continue
            for entry, key in enumerate(places, start):
                kept.add(key, entry)
        return dropped


class Chains:
    """A linked list of numbers per key, in two flat arrays: each key's newest entry, and each entry's predecessor."""

    def __init__(self, keys: int, entries: int) -> None:
        self.newest = np.full(max(keys, 1), -1, np.int32).data
        self.older = np.full(max(entries, 1), -1, np.int32).data

    def add(self, key: int, entry: int) -> None:
        """Add an entry to a key's list; each entry is added once."""
        self.older[entry] = self.newest[key]
        self.newest[key] = entry

    def last(self, key: int, count: int) -> Iterator[int]:
        """Yield the newest `count` entries of a key."""
        entry = self.newest[key]
        while entry >= 0 and count:
            yield entry
            entry, count = self.older[entry], count - 1


class SignatureLookup:
    """Signatures by document, in the arrays of all parts (memory-mapped on disk).

    `among` [D] gives each document's index in the concatenated arrays; None = its own number.
    """

    def __init__(self, arrays: Sequence[Signatures], among: NDArray[np.int64] | None = None) -> None:
        self.arrays, self.among = arrays, among
        self.starts = np.cumsum([0, *(len(array) for array in arrays)])

    def __getitem__(self, document: int) -> Signatures:
        place = document if self.among is None else int(self.among[document])
        part = int(np.searchsorted(self.starts, place, side="right")) - 1
        return np.asarray(self.arrays[part][place - self.starts[part]])


def _closest(signatures: SignatureLookup, document: int, rivals: list[int]) -> float:
    own = signatures[document]
    return max(float(np.count_nonzero(own == signatures[rival])) for rival in rivals) / PERMUTATIONS
