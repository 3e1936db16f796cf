"""Assign a problem to a split by a hash of its question, so that a problem of val or test is never in train."""

from hashlib import blake2b

from sayso.world.draw import SHARE, SPLITS, generator

__all__ = ["SPLITS", "generator", "problem_split"]


def problem_split(*asked: object) -> str:
    """Return the only split that may ask this; one problem in eight belongs to val, one to test."""
    bucket = int.from_bytes(blake2b(repr(asked).encode(), digest_size=4).digest()) % SHARE
    return SPLITS[bucket + 1] if bucket < 2 else "train"
