"""Ratings of replies, as they are read from a store: with a snapshot of the prompt and the reply that they rate.

A rating is never changed, only superseded by a later one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.prompts import Turns, prompt_of
from sayso.feedback.tables import messages, ratings

MOST_POINTS = 10
_JUDGED = {"reply": "content"} | {name: name for name in ("model", "fingerprint", "sampling", "finish")}
"""Fields of a reply in a rating's snapshot, and their columns."""


@dataclass(frozen=True)
class Rating:
    """One rating.

    `snapshot` has prompt, reply, model, fingerprint, sampling and finish, and for a choice also rejected and position.
    """

    id: int
    message_id: int
    kind: str
    value: int
    text: str | None
    rejected_id: int | None
    comment: str | None
    created_at: str
    snapshot: dict[str, Any] = field(repr=False)
    annotator: str | None = None
    source: str = "person"
    confidence: float | None = None
    conversation_id: int | None = None


_OWN = tuple(name for name in Rating.__dataclass_fields__ if name not in ("snapshot", "conversation_id"))
"""Fields of a rating that are columns of its own."""


@dataclass(frozen=True)
class Rater:
    """Who or what rates."""

    annotator: str | None = None
    """The name of a person, model or program."""
    source: Literal["person", "model", "program"] = "person"
    confidence: float | None = None
    """How sure the rater is, from 0 to 1."""

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise UserError(f"A confidence must be from 0 to 1; got {self.confidence}.")


SOMEONE = Rater()


@dataclass(frozen=True)
class Opinion:
    """Current ratings of a reply: the latest thumb (1, -1 or 0) and the latest edit (None without one)."""

    thumb: int = 0
    edit: str | None = None


def read_ratings(connection: sql.Connection, condition: sql.ColumnElement[bool], known: Turns) -> list[Rating]:
    """Return ratings in the order of creation, with snapshots; `known` has the turns of their prompts."""
    reply, other = messages.alias("reply"), messages.alias("other")
    joined = ratings.join(reply, reply.c.id == ratings.c.message_id)
    joined = joined.outerjoin(other, other.c.id == ratings.c.rejected_id)
    own = [ratings.c[name] for name in (*_OWN, "position")]
    judged = [table.c[name].label(f"{table.name}_{name}") for table in (reply, other) for name in _JUDGED.values()]
    about = [reply.c[name] for name in ("conversation_id", "prompt_id", "left_out")]
    query = sql.select(*own, *about, *judged).select_from(joined).where(condition)
    found = []
    for row in connection.execute(query.order_by(ratings.c.id)).mappings():
        snapshot: dict[str, Any] = {"prompt": prompt_of(known, row)}
        snapshot |= {name: row[f"reply_{column}"] for name, column in _JUDGED.items()}
        if row["kind"] == "choice":
            snapshot["rejected"] = {name: row[f"other_{column}"] for name, column in _JUDGED.items()}
            snapshot["position"] = row["position"]
        fields = {name: row[name] for name in (*_OWN, "conversation_id")}
        found.append(Rating(**fields, snapshot=snapshot))
    return found


def read_opinions(connection: sql.Connection, message_ids: Sequence[int]) -> dict[int, Opinion]:
    """Return the current ratings of those of some replies that were rated."""
    query = sql.select(ratings.c.message_id, ratings.c.kind, ratings.c.value, ratings.c.text)
    query = query.where(ratings.c.message_id.in_(message_ids), ratings.c.kind.in_(("thumb", "edit")))
    query = query.order_by(ratings.c.id)
    found: dict[int, Opinion] = {}
    for message_id, kind, value, text in connection.execute(query):
        old = found.get(message_id, Opinion())
        edit = text if value else None
        found[message_id] = Opinion(value, old.edit) if kind == "thumb" else Opinion(old.thumb, edit)
    return found


def has_plain_prompt(rating: Rating) -> bool:
    """Whether the rated reply answers a conversation of texts: those of the API may have tools, or be raw prompts."""
    chat = {"system", "user", "assistant"}
    return all(turn["role"] in chat and {*turn} == {"role", "content"} for turn in rating.snapshot["prompt"])


def checked(rating: Rating) -> Rating:
    """Return a rating read from the database. Raises `UserError` for one that `Store` cannot have written."""
    snapshot = rating.snapshot if isinstance(rating.snapshot, dict) else {}
    texts = [snapshot.get(name) for name in ("reply", "model", "fingerprint", "finish")]
    turns = snapshot.get("prompt")
    valid = isinstance(turns, list) and all(isinstance(turn, dict) and {"role", "content"} <= {*turn} for turn in turns)
    if rating.kind == "choice":
        rejected = snapshot.get("rejected")
        texts.append(rejected.get("reply") if isinstance(rejected, dict) else None)
    elif rating.kind == "edit" or rating.kind == "tag":
        texts.append(rating.text)
    elif rating.kind == "comment":
        texts.append(rating.comment)
    elif rating.kind not in ("thumb", "rating"):
        valid = False
    if not valid or not all(isinstance(text, str) for text in texts) or not isinstance(rating.value, int):
        raise UserError(f"The store is damaged: rating {rating.id} is invalid; restore it from a backup.")
    return rating
