"""Measures of a store's replies for charts: when and by which model, how fast, how long, refusing, repeating itself.

Replies are measured when somebody wants to see the charts, a part at a time, so that answering costs nothing more.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import generations, measures, messages
from sayso.judge.behaviour.refusal import refusal
from sayso.judge.behaviour.repetition import repeated_share
from sayso.reply.reasoning import split_reasoning

SHADOW = "shadow"  # the route of replies that nobody has seen
_AT_ONCE = 100  # replies read between two writes
_READ = 20_000  # characters of a reply
_BACK = 1_000  # numbers below the last measured one, whose transactions may have ended later
_MOST = 2**31


def catch_up(store: Store, seconds: float) -> int:
    """Measure unmeasured replies for at most about `seconds`; return the number of messages still to be examined."""
    end = time.monotonic() + seconds
    for left in _parts(store):
        if time.monotonic() >= end:
            return left
    return 0


def hour_of(moment: str) -> int:
    """Return the hour since 1970 of a time of the store; 0 for a text that is no time."""
    try:
        return int(datetime.fromisoformat(moment).timestamp() // 3600)
    except (ValueError, OverflowError):
        return 0


def _parts(store: Store) -> Iterator[int]:
    """Measure part after part of a store; yield how many messages come after each."""
    while True:
        with store.engine.begin() as connection:
            rows = _unmeasured(connection)
            last = connection.scalar(sql.select(sql.func.max(messages.c.id))) or 0
        if not rows:
            return
        _keep(store, [_measured(row) for row in rows])
        yield last - rows[-1]["id"]


def _unmeasured(connection: sql.Connection) -> Sequence[sql.RowMapping]:
    """Return the next replies without measures, by number."""
    last = connection.scalar(sql.select(sql.func.max(measures.c.message_id))) or 0
    own = [messages.c[name] for name in ("id", "created_at", "model", "completion_tokens", "seconds")]
    text = sql.func.substr(messages.c.content, 1, _READ).label("text")
    query = sql.select(*own, text, generations.c.route, generations.c.first_seconds).select_from(
        messages.outerjoin(generations, generations.c.message_id == messages.c.id)
    )
    known = sql.exists().where(measures.c.message_id == messages.c.id)
    query = query.where(messages.c.id > last - _BACK, messages.c.model.is_not(None), ~known)
    return connection.execute(query.order_by(messages.c.id).limit(_AT_ONCE)).mappings().all()


def _measured(row: sql.RowMapping) -> dict[str, Any]:
    """Return the measures of a reply."""
    text = split_reasoning(row["text"])[1]
    first, seconds, tokens = row["first_seconds"], row["seconds"], row["completion_tokens"]
    timed = None not in (first, seconds) and (tokens or 0) > 1
    return {
        "hour": min(max(0, hour_of(row["created_at"])), _MOST - 1),
        "model": row["model"],
        "message_id": row["id"],
        "shown": int(row["route"] != SHADOW),
        "first_seconds": first,
        "token_seconds": max(0.0, seconds - first) / (tokens - 1) if timed else None,
        "tokens": tokens,
        "refused": int(refusal(text) == "refused"),
        "repeated": repeated_share(text),
    }


def _keep(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Store measures, but for replies that were deleted or measured by another server in the meantime."""
    ids = [row["message_id"] for row in rows]
    with store.engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.exec_driver_sql("LOCK TABLE measures IN SHARE ROW EXCLUSIVE MODE")
        there = {*connection.scalars(sql.select(messages.c.id).where(messages.c.id.in_(ids)))}
        there -= {*connection.scalars(sql.select(measures.c.message_id).where(measures.c.message_id.in_(ids)))}
        if new := [row for row in rows if row["message_id"] in there]:
            connection.execute(measures.insert(), new)
