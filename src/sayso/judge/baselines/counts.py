"""What a language model must beat: bits for held-out documents by models that do not learn.

The training text and held-out documents enter as token ids; the bits of each held-out document leave. All are charged
for exactly what a language model is charged for: every byte of a document, its beginning being known.

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
    """Every id is as likely as any other: log2 V each -> [D]."""
    return np.array([len(document) * math.log2(vocab_size) for document in documents])


def unigram_bits(train: Sequence[_Ids], documents: Sequence[_Ids], vocab_size: int) -> _Floats:
    """Each id by how often it was seen, one added to every count (Laplace) -> [D]."""
    counts = np.bincount(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in train]), minlength=vocab_size) + 1.0
    cost = -np.log2(counts / counts.sum())
    return np.array([cost[np.asarray(document, dtype=np.int64)].sum() for document in documents])


def kn5_bits(train: Sequence[_Ids], documents: Sequence[_Ids], vocab_size: int, bos: int) -> _Floats:
    """Interpolated modified Kneser-Ney over the same ids, 5-grams -> [D]."""
    return train_kneser_ney(train, vocab_size, bos).bits(documents)
