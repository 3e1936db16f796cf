"""Candidate sets of a store: replies to the same prompt that were made to be compared, by a person or a judge.

A set of the purpose `shown` has replies that somebody saw side by side, one of `shadow` the reply that was shown and
one that nobody has seen.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.store import Store
from sayso.feedback.tables import candidates, now

Purpose = Literal["shown", "shadow"]
MOST_SHOWN = 64  # replies of one set


@dataclass(frozen=True)
class Candidate:
    """One reply of a set."""

    policy: str
    """What made it, such as the name of a model."""
    message_id: int
    side: str | None = None
    """Where it was shown: left or right; of more than two, its number from the left, from 1."""


@dataclass(frozen=True)
class CandidateSet:
    """Replies of one set, in the order in which they were added."""

    set_id: str
    purpose: Purpose
    replies: tuple[Candidate, ...]


class Candidates:
    """The candidate sets of a store."""

    def __init__(self, store: Store) -> None:
        self._store, self._engine = store, store.engine

    def add(self, purpose: Purpose, replies: Sequence[Candidate]) -> CandidateSet:
        """Store a set of replies."""
        made = CandidateSet(uuid.uuid4().hex, purpose, tuple(replies))
        of_set = {"set_id": made.set_id, "purpose": purpose, "created_at": now()}
        rows = [
            {**of_set, "message_id": one.message_id, "policy": one.policy, "side": one.side} for one in made.replies
        ]
        with self._engine.execution_options(writes=True).begin() as connection:
            connection.execute(candidates.insert(), rows)
        return made

    def show(self, message_ids: Sequence[int]) -> CandidateSet:
        """Store that replies were shown side by side, given from left to right; each is the policy of its model.

        Raises `UserError` unless they are different replies of the page to the same message, and `MissingError` if
        one does not exist.
        """
        shown = [self._store.message(number) for number in message_ids]
        parents = {one.parent_id for one in shown}
        made = [one.generation for one in shown if one.generation is not None]
        different = len({*message_ids}) == len(message_ids) > 1
        if not different or len(parents) != 1 or None in parents or len(made) != len(shown):
            raise UserError("What is compared must be two or more different replies to the same message.")
        sides = ("left", "right") if len(shown) == 2 else [str(place) for place in range(1, len(shown) + 1)]
        rows = zip(made, message_ids, sides, strict=True)
        return self.add("shown", [Candidate(one.model, number, side) for one, number, side in rows])

    def sets(self, purpose: Purpose) -> list[CandidateSet]:
        """Return the sets of a purpose, oldest first; one that has fewer than two replies left is left out."""
        query = sql.select(candidates).where(candidates.c.purpose == purpose).order_by(candidates.c.id)
        found: dict[str, list[Candidate]] = {}
        with self._engine.begin() as connection:
            for row in connection.execute(query).mappings():
                one = Candidate(row["policy"], row["message_id"], row["side"])
                found.setdefault(row["set_id"], []).append(one)
        return [CandidateSet(name, purpose, tuple(replies)) for name, replies in found.items() if len(replies) > 1]
