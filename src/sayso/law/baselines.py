"""What a language model must beat: bits for held-out documents by models that do not learn.

Enters the training text and held-out documents, as token ids or as bytes; leave bits (per document, or for all where a
compressor knows no documents). All are charged for exactly what a language model is charged for: every byte of a
document, its beginning being known.

D documents, V vocabulary size.
"""

import lzma
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sayso.law.kneserney import train_kneser_ney

Ids = Sequence[int] | NDArray[np.int64]
Floats = NDArray[np.float64]
XZ_DICTIONARY = 3 << 29  # liblzma's largest dictionary, 1.5 GiB


def uniform_bits(documents: Sequence[Ids], vocab_size: int) -> Floats:
    """Every id is as likely as any other: log2 V each -> [D]."""
    return np.array([len(document) * math.log2(vocab_size) for document in documents])


def unigram_bits(train: Sequence[Ids], documents: Sequence[Ids], vocab_size: int) -> Floats:
    """Each id by how often it was seen, one added to every count (Laplace) -> [D]."""
    counts = np.bincount(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in train]), minlength=vocab_size) + 1.0
    cost = -np.log2(counts / counts.sum())
    return np.array([cost[np.asarray(document, dtype=np.int64)].sum() for document in documents])


def kn5_bits(train: Sequence[Ids], documents: Sequence[Ids], vocab_size: int, bos: int) -> Floats:
    """Interpolated modified Kneser-Ney over the same ids, 5-grams -> [D]."""
    return train_kneser_ney(train, vocab_size, bos).bits(documents)


def xz_bits(train: bytes, documents: bytes) -> int:
    """The bits that `xz -9` adds for `documents` when `train` went before: size(train + documents) - size(train).

    The preset's dictionary of 64 MiB is enlarged, where needed, to reach back to the first byte (up to 1.5 GiB).
    """
    return 8 * (xz_size(train + documents, len(train) + len(documents)) - xz_size(train, len(train) + len(documents)))


def xz_size(data: bytes, reach: int) -> int:
    """Bytes of `data` as one LZMA stream without a container, the dictionary reaching back at least `reach` bytes."""
    # A smaller dictionary than the preset's changes nothing when it holds all the data, and saves ten times its size.
    dictionary = min(max(reach, 1 << 16), XZ_DICTIONARY)
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=chain))
