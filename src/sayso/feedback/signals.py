"""Implicit signals: what people did with a reply instead of rating it.

They are kept apart from ratings, because they are ambiguous: a copied reply is not always a good one, nor a regenerated
one bad.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sql

from sayso.feedback.detectors.complaint import objection
from sayso.feedback.storable import storable
from sayso.feedback.tables import generations, messages, now, signals, turns

_READ = 10_000  # characters of a turn in which an objection is looked for, as a writer of the store waits for it
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


def note_complained(connection: sql.Connection, message_id: int, said: str) -> None:
    """Note that what a user says to a message objects, with the words; once, and only if the message is a reply."""
    words = objection(said[:_READ])
    if words is None:
        return
    role = sql.select(messages.c.role).where(messages.c.id == message_id)
    known = sql.select(signals.c.id).where(signals.c.message_id == message_id, signals.c.kind == "complained")
    if connection.scalar(role) == "assistant" and connection.scalar(known.limit(1)) is None:
        note_signal(connection, message_id, "complained", words)


def note_continued(connection: sql.Connection, conversation_id: int, after: int) -> None:
    """Note what new turns of the prompts of a conversation of the API say about the replies that they continue.

    `after`: the id of its last turn that is not new. A client may continue with another text than the reply that it
    got, and its user may object to the reply. A turn whose reply was not recorded says nothing.
    """
    said, reply, asked = turns.alias("said"), turns.alias("reply"), turns.alias("asked")
    joined = said.join(reply, reply.c.id == said.c.parent_id).join(asked, asked.c.id == reply.c.parent_id)
    columns = (said.c.role, said.c.content.label("text"), reply.c.content, reply.c.extra, asked.c.id)
    query = sql.select(*columns).select_from(joined).order_by(said.c.id)
    new = (said.c.conversation_id == conversation_id, said.c.id > after)
    for turn in connection.execute(query.where(*new, reply.c.role == "assistant")).all():
        replies = _shown(connection, turn.id)
        text = turn.content.strip()  # a client may omit the reasoning
        same = [number for number, content in replies if content.strip().endswith(text)]
        if not replies:
            continue
        if not same and not turn.extra:  # calls and reasoning are other fields there, and part of the text here
            note_signal(connection, replies[-1][0], "edited on")
        elif same and turn.role == "user":
            note_complained(connection, same[-1], turn.text)


def _shown(connection: sql.Connection, asked: int) -> list[tuple[int, str]]:
    """Return the replies to the prompt that ends with a turn, with their texts; without those that nobody has seen."""
    query = sql.select(messages.c.id, messages.c.content).where(messages.c.prompt_id == asked)
    query = query.outerjoin_from(messages, generations, generations.c.message_id == messages.c.id)
    seen = sql.func.coalesce(generations.c.route, "") != "shadow"
    return [(row.id, row.content) for row in connection.execute(query.where(seen).order_by(messages.c.id))]
