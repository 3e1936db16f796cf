"""Reward shaping: penalties for truncated and overlong replies.

0                                   up to limit - buffer tokens
(limit - buffer - length) / buffer  in the buffer, falling to -1 (Yu et al. 2025, DAPO's soft punishment)
-1                                  at the limit
"""


def overlong(length: int, limit: int, buffer: int) -> float:
    """Return the penalty on a reply of `length` tokens, from 0 to -1; always 0 for a buffer of 0."""
    if not buffer:
        return 0.0
    return -min(max(length - (limit - buffer), 0) / buffer, 1.0)


def shaped(reward: float, *, length: int, ended: bool, limit: int, buffer: int, unfinished: float) -> float:
    """Return a reward minus the penalties for length and, with `unfinished`, for truncation."""
    return reward + overlong(length, limit, buffer) - (0.0 if ended else unfinished)
