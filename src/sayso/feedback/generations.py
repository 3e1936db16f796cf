"""Replies that no page shows, such as the API's: takes what was asked and replied, stores it like any other reply.

Such a reply is a message without a parent, so that it can be rated and flagged, but is part of no branch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.prompts import keep_prompt
from sayso.feedback.signals import note_continued
from sayso.feedback.storable import storable
from sayso.feedback.store import Generation, Store, title_of
from sayso.feedback.tables import conversations, generations, messages, now, turns
from sayso.feedback.traces import Trace, keep_trace, read_trace


@dataclass(frozen=True, kw_only=True)
class RecordedReply:
    """A reply to record, with what it answers."""

    conversation: str | int
    """The id of a conversation of the page, or the key of one of the API, which is created if it is new."""
    user: str | None = None
    """Who asked, if the conversation is new."""
    prompt: Sequence[Mapping[str, Any]]
    """The turns that it answers."""
    content: str
    generation: Generation
    trace: Trace
    free: bool = True
    """Whether any text could have been the reply, so that another model can be asked the same."""


class Generations:
    """The recorded replies of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def record(self, replies: Sequence[RecordedReply]) -> list[int]:
        """Store replies, all or none; return their ids, by which they can be rated."""
        with self._engine.execution_options(writes=True).begin() as connection:
            return [record_reply(connection, reply) for reply in replies]

    def find(self, made: Generation, trace: Trace) -> int | None:
        """Return the id of a reply if it is stored.

        A database that fails as it commits may have stored what it reports as failed, which must not be stored again.
        """
        query = sql.select(messages.c.id).join(generations, generations.c.message_id == messages.c.id)
        query = query.where(generations.c.request == trace.request, generations.c.sample == trace.sample)
        query = query.where(messages.c.seconds == made.seconds).limit(1)
        with self._engine.begin() as connection:
            found: int | None = connection.scalar(query)
        return found

    def trace(self, message_id: int) -> Trace | None:
        """Return the trace of a reply of the page or the API; None if it was stored without one."""
        with self._engine.begin() as connection:
            return read_trace(connection, message_id)

    def canary(self, message_id: int) -> str | None:
        """Return the canary's conversation of a reply of the API; None if its request did not take part."""
        query = sql.select(generations.c.canary).where(generations.c.message_id == message_id)
        with self._engine.begin() as connection:
            return connection.scalar(query)


def record_reply(connection: sql.Connection, reply: RecordedReply) -> int:
    """Store a reply within a transaction; return its id."""
    talk = reply.conversation
    if isinstance(talk, str):
        talk = _conversation(connection, talk, reply)
    row: dict[str, Any] = {"conversation_id": talk, "role": "assistant", "content": storable(reply.content)}
    row |= {name: getattr(reply.generation, name) for name in Generation.__dataclass_fields__}
    before = connection.scalar(sql.select(sql.func.max(turns.c.id)).where(turns.c.conversation_id == talk)) or 0
    last = keep_prompt(connection, talk, reply.prompt)
    if last > before:  # a prompt that is asked again says nothing new
        note_continued(connection, talk, before)
    row |= {"prompt_id": last, "left_out": 0, "created_at": now()}
    made: int = connection.execute(messages.insert().values(row).returning(messages.c.id)).scalar_one()
    keep_trace(connection, talk, made, reply.trace)
    return made


def _conversation(connection: sql.Connection, key: str, reply: RecordedReply) -> int:
    """Return the id of the API's conversation with a key; another process may create it at the same time."""
    at = now()
    said = next((turn["content"] for turn in reply.prompt if turn["role"] in ("user", "text")), "")
    row = {"key": key, "user": storable(reply.user), "title": title_of(storable(said))}
    row |= {"created_at": at, "updated_at": at}
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        added = of_postgresql(conversations).values(row)
        return _id(connection, added.on_conflict_do_update(index_elements=["key"], set_={"updated_at": at}))
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    kept = of_sqlite(conversations).values(row)
    return _id(connection, kept.on_conflict_do_update(index_elements=["key"], set_={"updated_at": at}))


def _id(connection: sql.Connection, kept: Any) -> int:
    found: int = connection.execute(kept.returning(conversations.c.id)).scalar_one()
    return found
