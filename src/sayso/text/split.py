"""Assign train, val or test by content hash, so that a text is in the same split whatever is prepared with it."""

import numpy as np
from numpy.typing import NDArray

from sayso.text.ngrams import Hashes

TRAIN, VAL, TEST = 0, 1, 2  # indices in document.DOCUMENT_SPLITS


def split_by_hash(hashes: Hashes, val: float, test: float) -> NDArray[np.int8]:
    """Return the split of each document [D]; `val` and `test` are shares of the corpus.

    In a small corpus, an empty split gets the training document whose hash is nearest to it, but never the last one.
    """
    share = hashes / 2.0**64
    split = np.where(share < test, TEST, np.where(share < test + val, VAL, TRAIN)).astype(np.int8)
    order = ((TEST, test), (VAL, val)) if len(split) > 2 else ((VAL, val), (TEST, test))  # training needs val
    for wanted, size in order:
        train = np.flatnonzero(split == TRAIN)
        if size and len(train) > 1 and not np.any(split == wanted):
            split[train[np.argmin(share[train])]] = wanted
    keep_training(split, hashes, np.arange(len(split)))
    return split


def keep_training(split: NDArray[np.int8], hashes: Hashes, among: NDArray[np.int64]) -> None:
    """Move the document whose hash is nearest to training into it if none of the documents `among` is there."""
    if len(among) and not np.any(split[among] == TRAIN):
        split[among[np.argmax(hashes[among])]] = TRAIN
