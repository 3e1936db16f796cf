"""Reward shaping: penalties for truncated and overlong replies.

0                                   up to limit - buffer tokens
(limit - buffer - length) / buffer  in the buffer, falling to -1 (Yu et al. 2025, DAPO's soft punishment)
-1                                  at the limit
"""


def overlong(length: int, limit: int, buffer: int) -> float:
    """Return what a reply of `length` tokens loses, 0 to -1; a buffer of 0 is off."""
    if not buffer:
        return 0.0
    return -min(max(length - (limit - buffer), 0) / buffer, 1.0)


def shaped(reward: float, *, length: int, ended: bool, limit: int, buffer: int, unfinished: float) -> float:
    """Return a reward less what its reply loses by being long, and by not ending itself (`unfinished`)."""
    return reward + overlong(length, limit, buffer) - (0.0 if ended else unfinished)
