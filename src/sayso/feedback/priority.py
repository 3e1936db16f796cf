"""Which pair is compared next: takes open pairs with their verdicts so far, returns them in order.

1. Pairs whose reviewers disagree, the more the earlier.
2. Pairs that others have begun, so that they get finished.
3. Fresh pairs, first those of the two models of which it is least certain which one is better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EXTRA = 2  # further reviews of a pair that has all it needs, but no majority
Votes = tuple[int, int, int]
"""How many found the first reply better, neither, and the second one."""


@dataclass(frozen=True)
class OpenPair:
    """A pair that needs more reviews."""

    id: int
    votes: Votes
    models: tuple[str, str]
    """What made the first reply, and the second one."""


def is_finished(votes: Votes, needed: int) -> bool:
    """Whether a pair needs no more reviews: it has enough and a majority, or `EXTRA` more than enough."""
    given = sum(votes)
    return given >= needed + EXTRA or (given >= needed and 2 * max(votes) > given)


def in_order(pairs: Sequence[OpenPair], results: Mapping[tuple[str, str], Votes]) -> list[OpenPair]:
    """Return pairs in the order in which they should be compared.

    `results`: the verdicts so far between two models, each in alphabetical order.
    """

    def key(one: OpenPair) -> tuple[float, bool, float, int]:
        begun = any(one.votes)
        known = results.get((min(one.models), max(one.models)), (0, 0, 0))
        return -disagreement(one.votes), not begun, 0.0 if begun else -uncertainty(known), one.id

    return sorted(pairs, key=key)


def disagreement(votes: Votes) -> float:
    """Return the share of verdicts that are not the most frequent one."""
    return 1 - max(votes) / sum(votes) if any(votes) else 0.0


def uncertainty(votes: Votes) -> float:
    """Return the standard deviation of a model's rate of wins, a tie being half a win, from a uniform prior."""
    wins, losses = votes[0] + votes[1] / 2 + 1, votes[2] + votes[1] / 2 + 1
    total = wins + losses
    return math.sqrt(wins * losses / (total * total * (total + 1)))
