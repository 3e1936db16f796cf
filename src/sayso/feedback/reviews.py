"""Reviews: a person takes an item of the queue, holds it for a while, and says what they think of it.

While an item is held, nobody else gets it. Whoever comes back gets the same item again, and a verdict that comes late
counts all the same. Every comparison is a choice in the ratings, every check of a written reply a thumb or an edit.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.generations import RecordedReply, record_reply
from sayso.feedback.open_items import Act, next_item
from sayso.feedback.prompts import chain, prompt_of
from sayso.feedback.queue import queue_changes
from sayso.feedback.storable import storable
from sayso.feedback.store import Generation, MissingError, Store
from sayso.feedback.tables import messages, now, queue, ratings, reviews
from sayso.feedback.traces import Trace

HOLD = timedelta(minutes=15)  # how long an item is kept for whoever took it
PERSON = "person"
"""The model of a reply that a person wrote."""
Side = Literal["left", "right"]
Verdict = Literal["accept", "correct", "reject"]
_CHECKS: dict[Verdict, int] = {"accept": 1, "correct": 0, "reject": -1}


@dataclass(frozen=True)
class Task:
    """What a person is asked to do; it does not say what made the replies."""

    review: int
    act: Act
    origin: str
    prompt: list[dict[str, Any]]
    replies: tuple[str, ...] = ()
    """compare: the left and the right one; check: the written one."""
    cut: tuple[bool, ...] = ()
    """Whether each of them was cut off at the maximum length."""
    draft: str | None = None
    """What the person wrote before they undid it."""


@dataclass(frozen=True)
class Remarks:
    """What is said about a choice besides the choice."""

    reasons: Sequence[str] = ()
    left_tags: Sequence[str] = ()
    right_tags: Sequence[str] = ()
    comment: str | None = None


class Reviews:
    """The reviews of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def take(self, annotator: str, act: Act, origin: str | None = None) -> Task | None:
        """Return what a person holds, or give them the next item; None if there is nothing to do."""
        with queue_changes(self._engine) as connection:
            held = _held(connection, annotator, act)
            if held is not None and _is_kept(connection, held, origin):
                connection.execute(reviews.update().where(reviews.c.id == held["id"]).values(at=_until()))
                return _task(connection, held)
            if held is not None:
                connection.execute(reviews.delete().where(reviews.c.id == held["id"]))
            found = next_item(connection, annotator, act, origin)
            if found is None:
                return None
            row: dict[str, Any] = {"queue_id": found.queue_id, "act": act, "annotator": annotator, "state": "held"}
            row |= {"at": _until(), "message_id": found.message_id, "left_id": None, "created_at": now()}
            if act == "compare":
                row["left_id"] = secrets.choice(_pair(connection, found.queue_id))
            made = connection.execute(reviews.insert().values(row).returning(reviews)).mappings().one()
            return _task(connection, made)

    def compare(
        self, annotator: str, review: int, better: Side | None, remarks: Remarks | None = None
    ) -> dict[Side, str]:
        """Store which reply is better, None for a tie; return what made each of them."""
        remarks = remarks or Remarks()
        with queue_changes(self._engine) as connection:
            row = _held_one(connection, annotator, review, "compare")
            first, second = _pair(connection, row["queue_id"])
            left, right = (first, second) if row["left_id"] == first else (second, first)
            chosen = right if better == "right" else left
            choice = {"kind": "choice", "value": int(better is not None), "message_id": chosen}
            choice |= {"rejected_id": left if chosen == right else right, "position": better or "left"}
            choice |= {"text": "\n".join(remarks.reasons) or None, "comment": remarks.comment}
            given = _rate(connection, annotator, choice)
            for message, tags in ((left, remarks.left_tags), (right, remarks.right_tags)):
                for tag in tags:
                    _rate(connection, annotator, {"kind": "tag", "value": 1, "message_id": message, "text": tag})
            value = 0 if better is None else 1 if chosen == first else -1
            _end(connection, review, {"state": "done", "value": value, "rating_id": given})
            query = sql.select(messages.c.id, messages.c.model).where(messages.c.id.in_((left, right)))
            made = {one: model or "" for one, model in connection.execute(query)}
            return {"left": made[left], "right": made[right]}

    def write(self, annotator: str, review: int, text: str) -> None:
        """Store the reply that a person wrote."""
        if not text.strip():
            raise UserError("The reply must not be empty.")
        with queue_changes(self._engine) as connection:
            row = _held_one(connection, annotator, review, "write")
            item = connection.execute(queue.select().where(queue.c.id == row["queue_id"])).mappings().one()
            made = record_reply(
                connection,
                RecordedReply(
                    conversation=item["conversation_id"],
                    prompt=prompt_of(chain(connection, item["prompt_id"]), _whole(item["prompt_id"])),
                    content=text,
                    generation=Generation(PERSON, "", {}, "stop", 0, 0, 0.0),
                    trace=Trace(route="rate", prompt_ids=[], completion_ids=[], logprobs=[]),
                ),
            )
            _end(connection, review, {"state": "done", "message_id": made})

    def check(
        self, annotator: str, review: int, verdict: Verdict, text: str | None = None, comment: str | None = None
    ) -> None:
        """Accept, correct (with the corrected `text`) or reject a reply that another person wrote."""
        if verdict == "correct" and not (text or "").strip():
            raise UserError("The corrected reply must not be empty.")
        with queue_changes(self._engine) as connection:
            row = _held_one(connection, annotator, review, "check")
            value = _CHECKS[verdict]
            thumb: dict[str, Any] = {"kind": "thumb", "value": value} if value else {"kind": "edit", "value": 1}
            thumb |= {"message_id": row["message_id"], "text": None if value else text, "comment": comment}
            given = _rate(connection, annotator, thumb)
            _end(connection, review, {"state": "done", "value": value, "rating_id": given})

    def skip(self, annotator: str, review: int) -> None:
        """Pass an item on to others."""
        with queue_changes(self._engine) as connection:
            _held_one(connection, annotator, review, None)
            _end(connection, review, {"state": "skipped"})

    def undo(self, annotator: str, act: Act) -> Task | None:
        """Withdraw a person's last verdict or skip, and give them that item again; None if there is none.

        What they hold is passed on. Raises `UserError` for a reply that somebody else checks or has checked by now.
        """
        with queue_changes(self._engine) as connection:
            own = (reviews.c.annotator == annotator) & (reviews.c.act == act)
            query = reviews.select().where(own, reviews.c.state != "held")
            last = connection.execute(query.order_by(reviews.c.at.desc(), reviews.c.id.desc()).limit(1)).mappings()
            row = last.one_or_none()
            if row is None:
                return None
            draft = _withdraw(connection, row)
            connection.execute(reviews.delete().where(own, reviews.c.state == "held"))
            again: dict[str, Any] = {"state": "held", "at": _until(), "value": None, "rating_id": None}
            again |= {"message_id": None} if act == "write" else {}
            update = reviews.update().where(reviews.c.id == row["id"]).values(again).returning(reviews)
            return _task(connection, connection.execute(update).mappings().one(), draft)


def _until() -> str:
    return (datetime.now(UTC) + HOLD).isoformat(timespec="milliseconds")


def _whole(prompt_id: int) -> Any:
    """Return what `prompt_of` reads of a reply, for a whole prompt."""
    return {"prompt_id": prompt_id, "left_out": 0}


def _held(connection: sql.Connection, annotator: str, act: Act) -> sql.RowMapping | None:
    own = (reviews.c.annotator == annotator) & (reviews.c.act == act) & (reviews.c.state == "held")
    return connection.execute(reviews.select().where(own).limit(1)).mappings().one_or_none()


def _is_kept(connection: sql.Connection, held: sql.RowMapping, origin: str | None) -> bool:
    """Whether what a person holds is of the list that they work on, and nobody else has written or checked it by now.

    That takes them longer than it was held; a comparison by one person more does no harm.
    """
    if origin not in (None, connection.scalar(sql.select(queue.c.origin).where(queue.c.id == held["queue_id"]))):
        return False
    if held["at"] > now() or held["act"] == "compare":
        return True
    same = (reviews.c.queue_id == held["queue_id"]) & (reviews.c.act == held["act"]) & (reviews.c.id != held["id"])
    same &= (reviews.c.state == "done") | ((reviews.c.state == "held") & (reviews.c.at > now()))
    if held["act"] == "check":
        same &= reviews.c.message_id == held["message_id"]
    return connection.scalar(sql.select(reviews.c.id).where(same).limit(1)) is None


def _held_one(connection: sql.Connection, annotator: str, review: int, act: Act | None) -> sql.RowMapping:
    """Return a review that a person holds, or held before its time was over."""
    query = reviews.select().where(reviews.c.id == min(review, 2**31 - 1), reviews.c.annotator == annotator)
    row = connection.execute(query).mappings().one_or_none()
    if row is None or act not in (None, row["act"]):
        raise MissingError("This item is not yours any more; reload the page to get another one.")
    if row["state"] != "held":
        raise UserError("You have finished this item already; undo it to change your verdict.")
    return row


def _pair(connection: sql.Connection, queue_id: int) -> tuple[int, int]:
    query = sql.select(queue.c.first_id, queue.c.second_id).where(queue.c.id == queue_id)
    first, second = connection.execute(query).one()
    return first, second


def _rate(connection: sql.Connection, annotator: str, row: dict[str, Any]) -> int:
    full = storable(row) | {"annotator": annotator, "source": "person", "created_at": now()}
    made: int = connection.execute(ratings.insert().values(full).returning(ratings.c.id)).scalar_one()
    return made


def _end(connection: sql.Connection, review: int, changes: dict[str, Any]) -> None:
    connection.execute(reviews.update().where(reviews.c.id == review).values(changes | {"at": now()}))


def _withdraw(connection: sql.Connection, row: sql.RowMapping) -> str | None:
    """Delete what a review left in the store; return what the person wrote."""
    if row["state"] == "skipped":
        return None
    draft = None
    if row["act"] == "write":
        checks = (reviews.c.message_id == row["message_id"]) & (reviews.c.act == "check")
        checks &= (reviews.c.state == "done") | ((reviews.c.state == "held") & (reviews.c.at > now()))
        if connection.scalar(sql.select(reviews.c.id).where(checks).limit(1)) is not None:
            raise UserError("Another person reviews this reply, or has reviewed it; it cannot be undone any more.")
        written = messages.c.id == row["message_id"]
        draft = connection.scalar(sql.select(messages.c.content).where(written))
        connection.execute(reviews.update().where(reviews.c.id == row["id"]).values(message_id=None))
        connection.execute(messages.delete().where(written))
    elif row["act"] == "check":
        draft = connection.scalar(sql.select(ratings.c.text).where(ratings.c.id == row["rating_id"]))
    else:
        tags = (ratings.c.kind == "tag") & (ratings.c.annotator == row["annotator"])
        tags &= ratings.c.message_id.in_(_pair(connection, row["queue_id"]))
        connection.execute(ratings.delete().where(tags))
    connection.execute(ratings.delete().where(ratings.c.id == row["rating_id"]))
    return draft


def _task(connection: sql.Connection, row: sql.RowMapping, draft: str | None = None) -> Task:
    item = connection.execute(queue.select().where(queue.c.id == row["queue_id"])).mappings().one()
    shown = [row["message_id"]] if row["act"] == "check" else []
    if row["act"] == "compare":
        pair = (item["first_id"], item["second_id"])
        shown = list(pair if row["left_id"] == pair[0] else pair[::-1])
    query = messages.select().where(messages.c.id.in_(shown))
    found = {one["id"]: one for one in connection.execute(query).mappings()}
    asked: Any = found[shown[0]] if shown else _whole(item["prompt_id"])
    return Task(
        row["id"],
        row["act"],
        item["origin"],
        prompt_of(chain(connection, asked["prompt_id"]), asked),
        tuple(found[one]["content"] for one in shown),
        tuple(found[one]["finish"] == "length" for one in shown),
        draft,
    )
