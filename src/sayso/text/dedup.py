"""Documents' word n-grams -> which documents stay: exact duplicates and near-duplicates of an earlier one go.

MinHash (Broder 1997) estimates the Jaccard similarity of two documents' sets of 5-word shingles; locality-sensitive
hashing (Leskovec et al., Mining of Massive Datasets, 3.4) finds the pairs worth estimating. A document goes only when
its own estimate against a document that *stayed* reaches the threshold: no chain of look-alikes drags a cluster out.

K = 120 permutations, in 20 bands of 6 rows: a pair of Jaccard s shares a band with probability 1 - (1 - s^6)^20, which
is 0.998 at s = 0.8; the estimate's standard error there is sqrt(s(1-s)/K) = 0.037.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sayso.text.ngrams import STEP, Hashes, mix, ngram_hashes

SHINGLE = 5  # words
BANDS, ROWS = 20, 6
PERMUTATIONS = BANDS * ROWS
BLOCK = 4096  # shingles at a time: bounds the memory of one long document to 4 MB
Signatures = NDArray[np.uint32]

_draw = np.random.Generator(np.random.PCG64(0x5A150))
# Multiply-add by odd numbers permutes the 64-bit integers; the high half of the product is the part that is well mixed.
FACTORS = _draw.integers(0, 2**63, size=(PERMUTATIONS, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
TERMS = _draw.integers(0, 2**63, size=(PERMUTATIONS, 1), dtype=np.uint64)


def signature(words: Hashes) -> Signatures:
    """Return the MinHash signature [K] of a document given its word hashes; fewer than 5 words are one shingle."""
    shingles = np.unique(ngram_hashes(words, min(SHINGLE, max(1, len(words)))))
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint32).max, np.uint32)
    for start in range(0, len(shingles), BLOCK):
        hashed = ((shingles[start : start + BLOCK] * FACTORS + TERMS) >> np.uint64(32)).astype(np.uint32)
        np.minimum(lowest, hashed.min(axis=1), out=lowest)
    return lowest


def band_keys(signatures: Signatures) -> NDArray[np.uint64]:
    """Return one key a band [BANDS, D] for signatures [D, K]: equal keys are candidates."""
    rows = signatures.reshape(len(signatures), BANDS, ROWS).astype(np.uint64)
    keys = np.zeros((len(signatures), BANDS), np.uint64)
    for row in range(ROWS):
        keys = mix(keys * STEP + rows[:, :, row])
    return np.ascontiguousarray(keys.T)


def first_of_each(hashes: Hashes) -> NDArray[np.bool_]:
    """Return which documents [D] are the first with their content hash. 24 bytes a document while it runs."""
    _, firsts = np.unique(hashes, return_index=True)
    keep = np.zeros(len(hashes), np.bool_)
    keep[firsts] = True
    return keep


def shared_keys(keys: Hashes) -> tuple[NDArray[np.int64], Hashes]:
    """Return the documents whose key of one band [D] another document has too, and their keys."""
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.empty(0, np.int64), repeated
    place = np.minimum(np.searchsorted(repeated, keys), len(repeated) - 1)
    documents = np.flatnonzero(repeated[place] == keys)
    return documents, keys[documents]


class NearDuplicates:
    """Finds near-duplicates in document order; its memory is that of the candidates, not of the corpus."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.bands: dict[int, list[tuple[int, int]]] = defaultdict(list)  # document -> its shared (band, key)

    def add_band(self, band: int, keys: Hashes) -> None:
        """Take in the keys [D] of one band of all documents."""
        documents, shared = shared_keys(keys)
        for document, key in zip(documents.tolist(), shared.tolist(), strict=True):
            self.bands[document].append((band, key))

    def dropped(self, signatures: "SignatureLookup") -> list[int]:
        """Return the documents that are near-duplicates of an earlier one that stays, in order."""
        stayed: dict[tuple[int, int], list[int]] = defaultdict(list)
        gone = []
        for document in sorted(self.bands):
            own = self.bands[document]
            rivals = sorted({rival for place in own for rival in stayed[place]})
            if rivals and _closest(signatures, document, rivals) >= self.threshold:
                gone.append(document)
                continue
            for place in own:
                stayed[place].append(document)
        return gone


class SignatureLookup:
    """Signatures by document, over the arrays of the parts they came from (memory-mapped on disk).

    `among` [D] gives each document's place in the arrays taken together; None = its own number.
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
    return max(float(np.mean(own == signatures[rival])) for rival in rivals)
