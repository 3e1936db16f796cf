"""The replies behind a number of the charts: takes which ones, returns them with the beginnings of their texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import conversations, flags, measures, messages, ratings, signals, turns
from sayso.feedback.tenure import Tenure
from sayso.feedback.trends import MEANS, latest_thumbs, not_false

_BEGINNING = 300  # characters of a text


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which replies: of the hours from `start` to before `end`, and those of all fields that are given."""

    start: int
    end: int
    kind: str = "all"
    """all, refused, liked, disliked, shadow, a measure (highest first), or signal, signal:KIND, flag, flag:DETECTOR."""
    model: str | None = None
    tenures: Sequence[Tenure] | None = None
    """Of one of these."""


@dataclass(frozen=True)
class Selected:
    """One reply."""

    id: int
    conversation_id: int
    on_page: bool
    """Whether the chat can show its conversation."""
    created_at: str
    model: str
    asked: str | None
    """The beginning of the last turn that it answers."""
    said: str
    """Its own beginning."""
    first_seconds: float | None
    token_seconds: float | None
    tokens: int | None
    repeated: float


def select_replies(store: Store, which: Selection, skip: int, limit: int) -> list[Selected]:
    """Return some replies, newest first, or highest first if the kind is a measure."""
    said, asked = (sql.func.substr(table.c.content, 1, _BEGINNING) for table in (messages, turns))
    query = sql.select(
        messages.c.id,
        messages.c.conversation_id,
        conversations.c.head_id.is_not(None).label("on_page"),
        messages.c.created_at,
        messages.c.model,
        asked.label("asked"),
        said.label("said"),
        *(measures.c[name] for name in ("first_seconds", "token_seconds", "tokens", "repeated")),
    ).select_from(
        measures.join(messages, messages.c.id == measures.c.message_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .outerjoin(turns, turns.c.id == messages.c.prompt_id)
    )
    query = query.where(measures.c.message_id.in_(_ids(which, skip, limit))).order_by(*_order(which.kind))
    with store.engine.begin() as connection:
        rows = connection.execute(query).mappings()
        return [Selected(**{**row, "on_page": bool(row["on_page"])}) for row in rows]


def _ids(which: Selection, skip: int, limit: int) -> sql.Select[Any]:
    """Return the numbers of the replies; the texts are read only of these."""
    where = [measures.c.hour >= which.start, measures.c.hour < which.end, _has_kind(which.kind)]
    where.append(measures.c.shown == int(which.kind != "shadow"))
    if which.model is not None:
        where.append(measures.c.model == which.model)
    if which.tenures is not None:
        where.append(sql.or_(sql.false(), *(_held(one) for one in which.tenures)))
    query = sql.select(measures.c.message_id).where(*where).order_by(*_order(which.kind))
    return sql.select(query.offset(skip).limit(limit).subquery().c.message_id)


def _held(one: Tenure) -> sql.ColumnElement[bool]:
    return sql.and_(measures.c.model == one.model, measures.c.hour.between(one.start, one.end))


def _order(kind: str) -> list[Any]:
    newest = measures.c.message_id.desc()
    return [measures.c[kind].desc(), newest] if kind in MEANS else [newest]


def _has_kind(kind: str) -> sql.ColumnElement[bool]:
    """Return the condition of a kind."""
    name, _, part = kind.partition(":")
    if name in MEANS:
        return measures.c[name].is_not(None)
    if name == "refused":
        return measures.c.refused == 1
    if name in ("liked", "disliked"):
        thumbs = latest_thumbs(sql.true()).where(ratings.c.value == (1 if name == "liked" else -1)).subquery()
        return measures.c.message_id.in_(sql.select(thumbs.c.message_id))
    if name == "signal":
        own = signals.c.kind == part if part else sql.true()
        return measures.c.message_id.in_(sql.select(signals.c.message_id).where(own))
    if name == "flag":
        own = flags.c.detector == part if part else sql.true()
        return measures.c.message_id.in_(sql.select(flags.c.message_id).where(own, not_false()))
    return sql.true()
