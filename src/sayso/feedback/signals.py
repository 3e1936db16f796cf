"""Implicit signals: what people did with a reply instead of rating it.

They are kept apart from ratings, because they are ambiguous: a copied reply is not always a good one, nor a regenerated
one bad.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sql

from sayso.feedback.storable import storable
from sayso.feedback.tables import messages, now, signals, turns

SignalKind = Literal["regenerated", "copied", "edited on", "complained"]


@dataclass(frozen=True)
class Signal:
    """One signal about a reply."""

    message_id: int
    kind: SignalKind
    detail: str | None
    created_at: str


def note_signal(connection: sql.Connection, message_id: int, kind: SignalKind, detail: str | None = None) -> None:
    """Store a signal."""
    row = {"message_id": message_id, "kind": kind, "detail": storable(detail), "created_at": now()}
    connection.execute(signals.insert().values(row))


def read_signals(connection: sql.Connection, message_ids: Sequence[int]) -> list[Signal]:
    """Return the signals about some replies in the order of creation."""
    columns = (signals.c[name] for name in Signal.__dataclass_fields__)
    query = sql.select(*columns).where(signals.c.message_id.in_(message_ids)).order_by(signals.c.id)
    return [Signal(*row) for row in connection.execute(query)]


def note_regenerated(connection: sql.Connection, parent_id: int) -> None:
    """Note that another reply to a message was asked for, about the latest one so far; nothing if there is none."""
    query = sql.select(messages.c.id).where(messages.c.parent_id == parent_id, messages.c.role == "assistant")
    last = connection.scalar(query.order_by(messages.c.id.desc()).limit(1))
    if last is not None:
        note_signal(connection, last, "regenerated")


def note_edited_on(connection: sql.Connection, last_turn: int) -> None:
    """Note that a client of the API continued a conversation with another text than the reply that it got.

    `last_turn` is the last turn of the new prompt; the reply is that before it.
    """
    said, reply, asked = turns.alias("said"), turns.alias("reply"), turns.alias("asked")
    joined = said.join(reply, reply.c.id == said.c.parent_id).join(asked, asked.c.id == reply.c.parent_id)
    query = sql.select(asked.c.id, reply.c.content, reply.c.extra).select_from(joined)
    found = connection.execute(query.where(said.c.id == last_turn, reply.c.role == "assistant")).one_or_none()
    if found is None or found.extra:  # calls and reasoning are other fields there, and part of the text here
        return
    query = sql.select(messages.c.id, messages.c.content).where(messages.c.prompt_id == found.id)
    replies = connection.execute(query.order_by(messages.c.id)).all()
    text = found.content.strip()
    if replies and not any(one.content.strip().endswith(text) for one in replies):  # a client may omit the reasoning
        note_signal(connection, replies[-1].id, "edited on")
