"""Bits of held-out documents under uniform, unigram and n-gram models.

Takes training and held-out documents as token ids. As for a language model, all bytes of a document count, but not its
end.

D documents, V vocabulary size.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sayso.judge.baselines.kneserney import train_kneser_ney

_Ids = Sequence[int] | NDArray[np.int64]
_Floats = NDArray[np.float64]


def uniform_bits(documents: Sequence[_Ids], vocab_size: int) -> _Floats:
    """Return the bits of each document, [D], if all ids are equally likely."""
    return np.array([len(document) * math.log2(vocab_size) for document in documents])


def unigram_bits(train: Sequence[_Ids], documents: Sequence[_Ids], vocab_size: int) -> _Floats:
    """Return the bits of each document, [D], with the frequencies of ids in training, plus one (Laplace)."""
    counts = np.bincount(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in train]), minlength=vocab_size) + 1.0
    cost = -np.log2(counts / counts.sum())
    return np.array([cost[np.asarray(document, dtype=np.int64)].sum() for document in documents])


def kn5_bits(train: Sequence[_Ids], documents: Sequence[_Ids], vocab_size: int, bos: int) -> _Floats:
    """Return the bits of each document, [D], under an interpolated modified Kneser-Ney model of 5-grams."""
    return train_kneser_ney(train, vocab_size, bos).bits(documents)
