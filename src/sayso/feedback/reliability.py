"""How far each annotator can be relied on, by agreement with the others, and what a rating of several people says.

Takes ratings, returns a weight for each annotator and those ratings that stand. The rate of agreement is smoothed as if
everybody had agreed in 4 of 5 earlier cases, and the weight is 0 at a rate of one half, which guessing reaches, and 1
from 0.8 on. So an annotator of whom nothing is known counts fully, and one who is mostly contrary not at all.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sayso.feedback.ratings import Rating

_AGREED, _BEFORE = 4.0, 5.0  # the prior: this many agreements in this many comparisons
_FULL = _AGREED / _BEFORE  # rate of agreement from which an annotator counts fully
Annotator = str | None


@dataclass(frozen=True)
class Standing:
    """The ratings that count."""

    ratings: list[Rating]
    weights: Mapping[int, float]
    """Weight of each of them, by its number, above 0 and at most 1."""
    left_out: Mapping[str, int]
    """Number of ratings left out, by reason."""


def annotator_weights(ratings: Sequence[Rating]) -> dict[Annotator, float]:
    """Return the weight of each annotator, from 0 to 1.

    What counts is how often a thumb, or a choice with a winner, agrees with the majority of the other annotators of the
    same replies; if those are evenly split, it does not count. Ratings without a name are those of one annotator.
    """
    agreed, compared = Counter[Annotator](), Counter[Annotator]()
    for votes in _votes(ratings).values():
        signs = {who: _sign(one) for who, one in votes.items() if _sign(one)}
        for who, sign in signs.items():
            others = sum(other for name, other in signs.items() if name != who)
            if others:
                compared[who] += 1
                agreed[who] += (others > 0) == (sign > 0)
    return {who: weight_of(agreed[who], compared[who]) for who in dict.fromkeys(one.annotator for one in ratings)}


def standing(ratings: Sequence[Rating]) -> Standing:
    """Return the ratings that count, in order.

    Those of unreliable annotators do not. If several people disagree about the same replies, the ratings of the side
    with the larger sum of weights count, and none if both are equal. Of one person's, nothing is left out here.
    """
    weights = annotator_weights(ratings)
    left_out = Counter[str]()
    lost = set[int]()
    for one in ratings:
        if not weights[one.annotator]:
            lost.add(one.id)
            left_out["rating of an annotator who disagrees with the others"] += 1
    kept = [one for one in ratings if one.id not in lost]
    verdicts = {key: votes for key, votes in _votes(kept).items() if len(votes) > 1}
    sides = {key: sum(weights[who] * _sign(one) for who, one in votes.items()) for key, votes in verdicts.items()}
    for one in kept:
        key = _key(one)
        if key in sides and _sign(one) * sides[key] <= 0 and _sign(one):
            lost.add(one.id)
            left_out["rating that other annotators contradict"] += 1
    kept = [one for one in kept if one.id not in lost]
    return Standing(kept, {one.id: weights[one.annotator] for one in kept}, left_out)


def _votes(ratings: Sequence[Rating]) -> dict[str, dict[Annotator, Rating]]:
    """Return the latest thumb or choice of each annotator, by what it is about."""
    found: dict[str, dict[Annotator, Rating]] = defaultdict(dict)
    for one in ratings:
        if one.kind in ("thumb", "choice"):
            found[_key(one)][one.annotator] = one
    return found


def _key(rating: Rating) -> str:
    """Return what a rating is about: a reply, or two replies in any order, to a prompt."""
    replies = [rating.snapshot["reply"]]
    if rating.kind == "choice":
        replies = sorted([*replies, rating.snapshot["rejected"]["reply"]])
    return json.dumps([rating.kind, rating.snapshot["prompt"], replies], sort_keys=True)


def _sign(rating: Rating) -> int:
    """Return 1 or -1: whether a thumb is up, or which of two replies is chosen; 0 for a tie and a removed thumb."""
    if rating.kind == "choice":
        first = rating.snapshot["reply"] <= rating.snapshot["rejected"]["reply"]
        return (1 if first else -1) if rating.value else 0
    return (rating.value > 0) - (rating.value < 0) if rating.kind == "thumb" else 0


def weight_of(agreed: float, compared: float) -> float:
    """Return an annotator's weight, from 0 to 1, given how many of their comparisons agreed with others."""
    rate = (agreed + _AGREED) / (compared + _BEFORE)
    return round(min(1.0, max(0.0, (rate - 0.5) / (_FULL - 0.5))), 4)
