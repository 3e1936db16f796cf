"""Verdicts of programs on replies, as rewards, pairs and single ratings.

Takes the thumbs and points that programs gave, and what people think of the same replies; returns rows of training
data. A program is verified by people: it counts as far as its verdicts agree with their thumbs, as an annotator does,
and where people have judged the same, their judgement counts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from sayso.feedback.ratings import MOST_POINTS, Rating
from sayso.feedback.reliability import weight_of

RIGHT = 0.5
"""Reward from which a reply is right."""
KINDS = ("thumb", "rating")
"""Kinds of ratings that are verdicts if a program gave them."""
PROGRAMS = "programs"
"""What the rows are made of."""
Key = tuple[str, str]  # prompt as JSON, and reply
Row = tuple[str, dict[str, Any]]  # what it was made of, and the row
_SOURCE = "feedback"


@dataclass(frozen=True)
class Judged:
    """What people have judged themselves."""

    liked: Mapping[Key, bool]
    """Whether they like a reply, by their thumbs."""
    compared: AbstractSet[tuple[str, frozenset[str]]]
    """Pairs of replies to a prompt of which they prefer one, or neither."""


@dataclass(frozen=True)
class Verdicts:
    """Rows of training data, and what was left out."""

    rewards: list[Row]
    pairs: list[Row]
    ratings: list[Row]
    left_out: Counter[str]


@dataclass(frozen=True)
class _Verdict:
    """The mean verdict of programs on one reply."""

    key: Key
    reward: float
    weight: float
    programs: dict[str, float]

    @property
    def right(self) -> bool:
        return self.reward >= RIGHT


def verdicts(given: Sequence[Rating], judged: Judged) -> Verdicts:
    """Return the rows that the ratings of programs make.

    Each reply with a verdict has a reward from 0 to 1, the mean over programs by their weights. Where people gave no
    thumb, that is also a single rating; and of the replies to a prompt that people did not compare, right ones are
    preferred to wrong ones, each to another one.
    """
    left_out = Counter[str]()
    found = _of_replies(given, judged.liked, left_out)
    rewards = [(PROGRAMS, {**_row(one), "rating": round(one.reward, 4), "programs": one.programs}) for one in found]
    alone = [one for one in found if one.key not in judged.liked]
    if further := len(found) - len(alone):
        left_out["single rating by programs of a reply that people rated"] = further
    return Verdicts(rewards, _pairs(found, judged), [(PROGRAMS, _row(one)) for one in alone], left_out)


def _of_replies(given: Sequence[Rating], liked: Mapping[Key, bool], left_out: Counter[str]) -> list[_Verdict]:
    """Return the mean verdict on each reply, in the order of the replies' first verdicts."""
    latest = _latest(given, left_out)
    weights = _weights(latest, liked)
    parts: dict[Key, dict[str, Rating]] = defaultdict(dict)
    for (program, key), rating in latest.items():
        if weights[program]:
            parts[key][program] = rating
        else:
            left_out["verdict of a program that disagrees with people"] += 1
    found = []
    for key, by_program in parts.items():
        rewards = {program: _reward(rating) for program, rating in by_program.items()}
        total = sum(weights[program] for program in rewards)
        mean = sum(weights[program] * reward for program, reward in rewards.items()) / total
        one = _Verdict(key, mean, max(weights[program] for program in rewards), dict(sorted(rewards.items())))
        finished = all(rating.snapshot["finish"] == "stop" for rating in by_program.values())
        if key[1].strip() and (finished or not one.right):
            found.append(one)
        else:
            left_out["verdict on a reply that is empty or was cut short"] += 1
    return found


def _latest(given: Sequence[Rating], left_out: Counter[str]) -> dict[tuple[str, Key], Rating]:
    """Return the latest verdict of each program on each reply, unless it was removed."""
    found: dict[tuple[str, Key], Rating] = {}
    for one in given:
        if not one.annotator:
            left_out["verdict of a program without a name"] += 1
        else:
            prompt = json.dumps(one.snapshot["prompt"], ensure_ascii=False, sort_keys=True)
            found[one.annotator, (prompt, one.snapshot["reply"])] = one
    return {place: one for place, one in found.items() if one.value}


def _weights(latest: Mapping[tuple[str, Key], Rating], liked: Mapping[Key, bool]) -> dict[str, float]:
    """Return the weight of each program, by how often people's thumbs on the same replies agree with its verdicts."""
    agreed, compared = Counter[str](), Counter[str]()
    for (program, key), one in latest.items():
        if key in liked:
            compared[program] += 1
            agreed[program] += (_reward(one) >= RIGHT) == liked[key]
    return {program: weight_of(agreed[program], compared[program]) for program, _ in latest}


def _reward(rating: Rating) -> float:
    """Return the reward of a verdict: 1 or 0 for a thumb up or down, and from 0 for the least points to 1."""
    if rating.kind == "thumb":
        return float(rating.value > 0)
    return round((rating.value - 1) / (MOST_POINTS - 1), 4)


def _pairs(found: Sequence[_Verdict], judged: Judged) -> list[Row]:
    """Return the pairs of right and wrong replies to the same prompt, each reply in one of them at most."""
    sides: dict[str, tuple[list[_Verdict], list[_Verdict]]] = defaultdict(lambda: ([], []))
    for one in found:
        if judged.liked.get(one.key, one.right) == one.right:  # people know better
            sides[one.key[0]][not one.right].append(one)
    rows = []
    for prompt, (right, wrong) in sides.items():
        for good, bad in zip(right, wrong, strict=False):
            chosen, rejected = good.key[1], bad.key[1]
            if chosen.strip() != rejected.strip() and (prompt, frozenset((chosen, rejected))) not in judged.compared:
                row = {"prompt": json.loads(prompt), "chosen": chosen, "rejected": rejected, "source": _SOURCE}
                rows.append((PROGRAMS, _weighed(row, min(good.weight, bad.weight))))
    return rows


def _row(one: _Verdict) -> dict[str, Any]:
    prompt, reply = one.key
    row = {"prompt": json.loads(prompt), "reply": reply, "good": one.right, "source": _SOURCE}
    return _weighed(row, one.weight)


def _weighed(row: dict[str, Any], weight: float) -> dict[str, Any]:
    return row if weight == 1 else {**row, "weight": weight}
