"""The queue of what people are asked to compare or write: takes what the store has, and lists; adds items to it.

A pair is added once. Pairs of replies that are the same, that answer a raw prompt or have tools are left out.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.generations import RecordedReply, record_reply
from sayso.feedback.prompts import keep_prompt
from sayso.feedback.storable import storable
from sayso.feedback.store import Generation, Store, title_of
from sayso.feedback.tables import candidates, conversations, messages, now, queue, signals, turns
from sayso.feedback.traces import Trace

REGENERATED = "regenerated"
_RESERVED = (REGENERATED, "shown", "shadow")
_LOOKED_AT = 1000  # rows of a table that are looked at between two insertions
LONGEST_NAME = 60  # characters of a list's name
Turns = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class GivenReply:
    """A reply from a file or a model, to be compared."""

    model: str
    content: str
    generation: Generation | None = None
    """How it was generated, if that is known."""
    trace: Trace | None = None


GivenPair = tuple[Turns, GivenReply, GivenReply]
"""A prompt with two replies."""


@contextmanager
def queue_changes(engine: sql.Engine) -> Iterator[sql.Connection]:
    """Begin a transaction in which no other one changes the queue or its reviews."""
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.exec_driver_sql("LOCK TABLE queue, reviews IN SHARE ROW EXCLUSIVE MODE")
        yield connection


def fill_queue(store: Store, after: Mapping[str, int] | None = None) -> dict[str, int]:
    """Add the pairs of candidate sets and of regenerated replies that are not there yet.

    Returns the last row that was looked at in each of their tables: pass it next time, so that older rows need not be
    looked at again.
    """
    after = after or {}
    return {table.name: _fill_from(store, table, after.get(table.name, 0)) for table in (candidates, signals)}


def add_pairs(store: Store, name: str, pairs: Sequence[GivenPair]) -> int:
    """Add pairs of replies to prompts, as a list with a name; return the number of new ones.

    A reply that the list has already is not stored again. Raises `UserError` for an invalid name or reply.
    """
    _check_name(name)
    added = 0
    with queue_changes(store.engine) as connection:
        for prompt, one, other in pairs:
            if one.content.strip() == other.content.strip():
                continue
            key = _key(name, prompt)
            ids = sorted(_stored(connection, key, prompt, reply) for reply in (one, other))
            talk = connection.scalar(sql.select(messages.c.conversation_id).where(messages.c.id == ids[0]))
            added += _add(connection, {"kind": "pair", "conversation_id": talk, "origin": name}, *ids)
    return added


def add_prompts(store: Store, name: str, prompts: Sequence[Turns]) -> int:
    """Add prompts to which people write replies, as a list with a name; return the number of new ones."""
    _check_name(name)
    added = 0
    with queue_changes(store.engine) as connection:
        for prompt in prompts:
            key, at = _key(f"write {name}", prompt), now()
            if connection.scalar(sql.select(conversations.c.id).where(conversations.c.key == key)) is not None:
                continue
            row = {"key": key, "title": title_of(storable(str(prompt[-1]["content"])))}
            insert = conversations.insert().values(row | {"created_at": at, "updated_at": at})
            talk = connection.execute(insert.returning(conversations.c.id)).scalar_one()
            last = keep_prompt(connection, talk, prompt)
            item = {"kind": "write", "conversation_id": talk, "prompt_id": last, "origin": name, "created_at": at}
            connection.execute(queue.insert().values(item))
            added += 1
    return added


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or name in _RESERVED or storable(name) != name:
        raise UserError(
            f"A list has a name of 1 to {LONGEST_NAME} characters other than {', '.join(_RESERVED)}; got "
            f"'{storable(name[:LONGEST_NAME])}'."
        )


def _key(name: str, prompt: Turns) -> str:
    """Return the key of the conversation that holds a prompt of a list."""
    said = [name, [{"role": turn["role"], "content": storable(turn["content"])} for turn in prompt]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _stored(connection: sql.Connection, key: str, prompt: Turns, reply: GivenReply) -> int:
    """Return the id of a reply's message, which is added if it is not there."""
    content = storable(reply.content)
    joined = messages.join(conversations, conversations.c.id == messages.c.conversation_id)
    query = sql.select(messages.c.id).select_from(joined).where(conversations.c.key == key)
    query = query.where(messages.c.model == storable(reply.model), messages.c.content == content)
    found = connection.scalar(query.limit(1))
    if found is not None:
        return int(found)
    made = reply.generation or Generation(storable(reply.model), "", {}, "stop", 0, 0, 0.0)
    trace = reply.trace or Trace(route="rate", prompt_ids=[], completion_ids=[], logprobs=[])
    record = RecordedReply(conversation=key, prompt=prompt, content=content, generation=made, trace=trace)
    return record_reply(connection, record)


def _fill_from(store: Store, table: sql.Table, after: int) -> int:
    """Add the pairs of the rows of a table above a number, a part at a time; return the number of the last row."""
    pairs, number = _sets() if table is candidates else _siblings()
    with store.engine.begin() as connection:
        last: int = connection.scalar(sql.select(sql.func.max(table.c.id))) or 0
    start = max(0, after - _LOOKED_AT)  # in PostgreSQL, a row may appear after one with a greater number
    for low in range(start, last, _LOOKED_AT):
        some = pairs.where(number > low, number <= low + _LOOKED_AT).order_by(number)
        with store.engine.begin() as connection:
            new = connection.execute(some).first() is not None
        if new:
            with queue_changes(store.engine) as connection:
                found = {(row["first_id"], row["second_id"]): row for row in connection.execute(some).mappings()}
                rows = [{**row, "kind": "pair", "created_at": now()} for row in found.values()]
                if rows:  # else somebody else has added them meanwhile
                    connection.execute(queue.insert(), rows)
    return last


def _sets() -> tuple[sql.Select[Any], sql.ColumnElement[int]]:
    """Return the pairs of candidate sets, and the number of their later row."""
    early, late = candidates.alias("early"), candidates.alias("late")
    one, other = messages.alias("one"), messages.alias("other")
    joined = late.join(early, (early.c.set_id == late.c.set_id) & (early.c.id < late.c.id))
    joined = joined.join(one, one.c.id == early.c.message_id).join(other, other.c.id == late.c.message_id)
    return _pairs(joined, one, other, late.c.purpose), late.c.id


def _siblings() -> tuple[sql.Select[Any], sql.ColumnElement[int]]:
    """Return each reply that was regenerated with the next one to the same message, and the number of that signal."""
    one, other, later = messages.alias("one"), messages.alias("other"), messages.alias("later")
    following = sql.select(sql.func.min(later.c.id)).where(
        later.c.parent_id == one.c.parent_id, later.c.id > one.c.id, later.c.role == "assistant"
    )
    joined = signals.join(one, one.c.id == signals.c.message_id)
    joined = joined.join(other, other.c.id == following.correlate(one).scalar_subquery())
    pairs = _pairs(joined, one, other, sql.literal(REGENERATED))
    return pairs.where(signals.c.kind == "regenerated"), signals.c.id


def _pairs(joined: sql.FromClause, one: Any, other: Any, origin: sql.ColumnElement[str]) -> sql.Select[Any]:
    """Return the pairs among two joined replies that can be compared and are not in the queue."""
    first = sql.case((one.c.id < other.c.id, one.c.id), else_=other.c.id)
    second = sql.case((one.c.id < other.c.id, other.c.id), else_=one.c.id)
    odd = sql.select(turns.c.id).where(
        turns.c.conversation_id == one.c.conversation_id, turns.c.role.not_in(("system", "user", "assistant"))
    )
    known = sql.select(queue.c.id).where(queue.c.first_id == first, queue.c.second_id == second)
    columns = [first.label("first_id"), second.label("second_id"), origin.label("origin"), one.c.conversation_id]
    query = sql.select(*columns).select_from(joined).where(one.c.content != other.c.content)
    new = ~sql.exists(odd.correlate(one)) & ~sql.exists(known.correlate(one, other))
    return query.where(one.c.prompt_id.is_not(None), new)


def _add(connection: sql.Connection, row: dict[str, Any], first: int, second: int) -> int:
    """Add a pair; return 1 if it is new."""
    same = sql.select(queue.c.id).where(queue.c.first_id == first, queue.c.second_id == second)
    if connection.scalar(same) is not None:
        return 0
    connection.execute(queue.insert().values(row | {"first_id": first, "second_id": second, "created_at": now()}))
    return 1
