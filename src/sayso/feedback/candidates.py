"""Candidate sets of a store: replies to the same prompt that were made to be compared, by a person or a judge.

A set of the purpose `shadow` has the reply that was shown and one that nobody has seen.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import candidates, now

Purpose = Literal["shown", "shadow"]


@dataclass(frozen=True)
class CandidateSet:
    """Replies of one set: the ids of their messages, by what made them."""

    set_id: str
    purpose: Purpose
    replies: dict[str, int]


class Candidates:
    """The candidate sets of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def add(self, purpose: Purpose, replies: Mapping[str, int]) -> CandidateSet:
        """Store a set of replies: the ids of their messages, by what made them, such as the name of a model."""
        made = CandidateSet(uuid.uuid4().hex, purpose, dict(replies))
        rows = [
            {"set_id": made.set_id, "purpose": purpose, "message_id": message, "policy": policy, "created_at": now()}
            for policy, message in replies.items()
        ]
        with self._engine.execution_options(writes=True).begin() as connection:
            connection.execute(candidates.insert(), rows)
        return made

    def sets(self, purpose: Purpose) -> list[CandidateSet]:
        """Return the sets of a purpose, oldest first; one that has lost a reply is left out."""
        query = sql.select(candidates).where(candidates.c.purpose == purpose).order_by(candidates.c.id)
        found: dict[str, CandidateSet] = {}
        with self._engine.begin() as connection:
            for row in connection.execute(query).mappings():
                one = found.setdefault(row["set_id"], CandidateSet(row["set_id"], purpose, {}))
                one.replies[row["policy"]] = row["message_id"]
        return [one for one in found.values() if len(one.replies) > 1]
