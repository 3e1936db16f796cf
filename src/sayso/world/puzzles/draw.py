"""Assign each problem to a split by a hash, so that a problem of val or test is never in train."""

from hashlib import blake2b

from sayso.world.draw import SHARE, SPLITS, generator

__all__ = ["SPLITS", "generator", "problem_split"]


def problem_split(*problem: object) -> str:
    """Return the only split of a problem; one in eight problems belongs to val, one in eight to test."""
    bucket = int.from_bytes(blake2b(repr(problem).encode(), digest_size=4).digest()) % SHARE
    return SPLITS[bucket + 1] if bucket < 2 else "train"
