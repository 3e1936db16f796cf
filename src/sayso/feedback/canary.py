"""The log of a canary in a life's store: which model each conversation got, and what came of it.

Every server of the store adds to it, and any can read from it what all of them have seen. Rows are only added.
"""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sql

from sayso.feedback.aliases import Assignment
from sayso.feedback.store import Store
from sayso.feedback.tables import canary, now
from sayso.judge.canary import CanaryOutcomes

CURRENT, CANDIDATE = "current", "candidate"
ARMS = (CURRENT, CANDIDATE)
BEGUN = "begun"  # an arm of its own: the beginning of a comparison, whose outcome is the candidate's share
FAILED, BAD, GOOD, PREFERRED = -1.0, 0.0, 1.0, 2.0


def key_of_user(user: str) -> str:
    """Return what stands in the log for the conversations of a user of the API."""
    return hashlib.sha256(f"user {user}".encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class CanaryRecord:
    """What a canary has seen since it began with its share."""

    share: float
    outcomes: CanaryOutcomes


class CanaryLog:
    """The log of one candidate, which an alias has named since an entry of its history."""

    def __init__(self, store: Store, candidate: Assignment) -> None:
        self._engine, self.candidate = store.engine, candidate
        self._mine = canary.c.assignment_id == candidate.id

    def begin(self, current: Assignment, share: float) -> None:
        """Begin a comparison with the current model, unless one with this share is in progress.

        What was seen with another share, or before the current model became so, does not count any more.
        """
        query = sql.select(canary.c.outcome, canary.c.created_at).where(self._mine, canary.c.arm == BEGUN)
        with self._engine.execution_options(writes=True).begin() as connection:
            last = connection.execute(query.order_by(canary.c.id.desc()).limit(1)).one_or_none()
            if last is None or last.outcome != share or last.created_at < current.created_at:
                self._add(connection, BEGUN, "", share)

    def add(self, arm: str, conversation: str, outcome: float | None = None) -> None:
        """Add that an arm got a conversation, or what came of it."""
        with self._engine.execution_options(writes=True).begin() as connection:
            self._add(connection, arm, conversation, outcome)

    def latest(self) -> int:
        """Return the id of the last outcome; 0 without one."""
        query = (
            sql.select(canary.c.id)
            .where(self._mine, canary.c.outcome.is_not(None))
            .order_by(canary.c.id.desc())
            .limit(1)
        )
        with self._engine.begin() as connection:
            return connection.scalar(query) or 0

    def read(self) -> CanaryRecord | None:
        """Return what was seen; None if nothing has begun.

        A conversation counts once, with its first rating; `judge.canary` says why a changed one does not replace it.
        """
        columns = (canary.c.arm, canary.c.conversation, canary.c.outcome)
        begun = sql.select(sql.func.max(canary.c.id)).where(self._mine, canary.c.arm == BEGUN).scalar_subquery()
        query = sql.select(*columns).where(self._mine, canary.c.id >= begun).order_by(canary.c.id)
        with self._engine.begin() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return None
        failed: dict[str, dict[str, bool]] = {arm: {} for arm in ARMS}
        liked: dict[str, dict[str, bool]] = {arm: {} for arm in ARMS}
        preferred: dict[str, set[str]] = {arm: set() for arm in ARMS}
        for arm, conversation, outcome in rows[1:]:
            if outcome is None or outcome == FAILED:
                failed[arm].setdefault(conversation, outcome == FAILED)
            elif outcome == PREFERRED:
                if not any(conversation in known for known in preferred.values()):
                    preferred[arm].add(conversation)
            else:
                liked[arm].setdefault(conversation, outcome == GOOD)
        outcomes = CanaryOutcomes(
            liked=(list(liked[CURRENT].values()), list(liked[CANDIDATE].values())),
            failed=(list(failed[CURRENT].values()), list(failed[CANDIDATE].values())),
            preferred=(len(preferred[CURRENT]), len(preferred[CANDIDATE])),
        )
        return CanaryRecord(rows[0].outcome, outcomes)

    def _add(self, connection: sql.Connection, arm: str, conversation: str, outcome: float | None) -> None:
        row = {"alias": self.candidate.alias, "assignment_id": self.candidate.id, "arm": arm}
        row |= {"conversation": conversation, "outcome": outcome, "created_at": now()}
        connection.execute(canary.insert().values(row))
