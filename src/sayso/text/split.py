"""Assign train, val or test by content hash: a text is always in the same split, whatever else is prepared with it."""

import numpy as np
from numpy.typing import NDArray

from sayso.text.ngrams import Hashes

TRAIN, VAL, TEST = 0, 1, 2  # places in document.SPLITS


def split_by_hash(hashes: Hashes, val: float, test: float) -> NDArray[np.int8]:
    """Return the split of each document [D]; `val` and `test` are shares of the corpus.

    A corpus so small that a split stays empty gives it the training document whose hash is nearest to it; the last one
    stays in training.
    """
    share = hashes / 2.0**64
    split = np.where(share < test, TEST, np.where(share < test + val, VAL, TRAIN)).astype(np.int8)
    asked = ((TEST, test), (VAL, val)) if len(split) > 2 else ((VAL, val), (TEST, test))  # training is judged on val
    for wanted, size in asked:
        train = np.flatnonzero(split == TRAIN)
        if size and len(train) > 1 and not np.any(split == wanted):
            split[train[np.argmin(share[train])]] = wanted
    keep_training(split, hashes, np.arange(len(split)))
    return split


def keep_training(split: NDArray[np.int8], hashes: Hashes, among: NDArray[np.int64]) -> None:
    """Move the document whose hash is nearest to training there, where none of those at the places `among` is."""
    if len(among) and not np.any(split[among] == TRAIN):
        split[among[np.argmax(hashes[among])]] = TRAIN
