"""Seeds and splits: (seed, index, split) to a random generator, and draws that respect held-out combinations.

A combination is a triple (scene, subject, value), such as (Tom who lost something, kite, red). A hash assigns each to
one split: train never states one of val or test, and val and test ask only about their own, so a score there cannot
come from memorization. Without the scene, train would never mention a red kite at all, and a model that learned this
would be penalized for it.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from types import MappingProxyType
from zlib import crc32

from sayso.base.errors import UserError, nearest

from .words import Word

SPLITS = ("train", "val", "test")
NOTHING: Mapping[str, str] = MappingProxyType({})
SHARE = 8  # one in eight combinations belongs to val, one in eight to test


class Redraw(Exception):  # noqa: N818 - a signal, not an error
    """No value fits the words drawn so far; the caller starts again with another seed."""


def generator(seed: int, index: int, split: str, *purpose: object) -> random.Random:
    """Return a generator that is a pure function of the arguments; `purpose` separates uses of the same index."""
    if split not in SPLITS:
        raise UserError(f"A split must be one of {', '.join(SPLITS)}; got {split!r}.{nearest(split, SPLITS)}")
    text = f"{split}:{purpose}".encode()
    return random.Random((((seed & 0xFFFFFFFF) << 40) + index) << 32 | crc32(text))


@cache
def split_of(subject: str, value: str, scene: str = "") -> str:
    """Return the only split whose questions may use this combination; subject and value may be swapped."""
    first, second = sorted((subject, value))
    bucket = int.from_bytes(blake2b(f"{scene}\0{first}\0{second}".encode(), digest_size=4).digest()) % SHARE
    return SPLITS[bucket + 1] if bucket < 2 else "train"


def draw_word(
    rng: random.Random,
    pool: Sequence[Word],
    split: str,
    against: Mapping[str, str] = NOTHING,
    taken: Container[str] = (),
) -> Word:
    """Return a word of `pool` whose combinations with `against` (subject: scene) belong to `split`, else to train.

    Words whose head is in `taken` are excluded. Raises `Redraw` if no word is left.
    """
    if split == "train":
        for _ in range(8):
            word = pool[int(rng.random() * len(pool))]
            if word.head not in taken and all(split_of(s, word.key, scene) == "train" for s, scene in against.items()):
                return word
    free = [w for w in pool if w.head not in taken]
    for allowed in dict.fromkeys((split, "train")):
        fit = [w for w in free if all(split_of(s, w.key, scene) == allowed for s, scene in against.items())]
        if fit:
            return fit[int(rng.random() * len(fit))]
    raise Redraw
