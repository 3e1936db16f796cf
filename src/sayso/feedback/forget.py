"""Removal of people's data from a store: takes a user, a conversation or an age; returns what was removed.

Everything that belongs to a conversation is deleted with it. On SQLite the bytes are overwritten, too.
"""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.canary import key_of_user
from sayso.feedback.cases import CASES
from sayso.feedback.store import Store
from sayso.feedback.tables import (
    answers,
    canary,
    candidates,
    cases,
    categories,
    conversations,
    flags,
    generations,
    guidelines,
    measures,
    messages,
    notes,
    queue,
    ratings,
    readings,
    reviews,
    sampled,
    samples,
    signals,
    triage,
    turns,
)


@dataclass(frozen=True)
class Forgotten:
    """What was removed."""

    counts: dict[str, int]
    """Number of rows by table; tables without any are left out."""
    conversations: list[int]
    """Conversations that were removed, or of which a rating was."""


def forget_user(store: Store, user: str, *, only_count: bool = False) -> Forgotten:
    """Remove a user's conversations, ratings, notes and reviews, and replies that they wrote with their prompts.

    What else they did for others, such as guidelines and marks of flags, stays without their name.
    """
    written = sql.select(messages.c.conversation_id).join(reviews, reviews.c.message_id == messages.c.id)
    written = written.where(reviews.c.annotator == user, reviews.c.act == "write")
    which = (conversations.c.user == user) | conversations.c.id.in_(written)
    return _forget(store, which, user, only_count)


def forget_conversation(store: Store, conversation_id: int, *, only_count: bool = False) -> Forgotten:
    """Remove one conversation of the page or the API."""
    return _forget(store, conversations.c.id == conversation_id, None, only_count)


def forget_older(store: Store, before: str, *, only_count: bool = False) -> Forgotten:
    """Remove the conversations in which nothing was said since a time (UTC, ISO 8601)."""
    return _forget(store, conversations.c.updated_at < before, None, only_count)


def _forget(store: Store, which: sql.ColumnElement[bool], user: str | None, only_count: bool) -> Forgotten:
    """Remove conversations and, if a user is given, what the user said elsewhere, and their name."""
    with store.engine.execution_options(writes=not only_count).begin() as connection:
        talks = sql.select(conversations.c.id).where(which)
        said = sql.select(messages.c.id).where(messages.c.conversation_id.in_(talks))
        given = _by(user, ratings.c.annotator)
        owned = _owned(talks, said, user)
        rated = sql.select(messages.c.conversation_id).join(ratings, ratings.c.message_id == messages.c.id).where(given)
        touched = sorted({*connection.scalars(talks), *connection.scalars(rated)})
        counts = {
            table.name: connection.scalar(sql.select(sql.func.count()).select_from(table).where(rows)) or 0
            for table, rows in owned.items()
        }
        if not only_count:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for table in (ratings, notes, canary, answers, conversations):  # the others go with these
                connection.execute(table.delete().where(owned[table]))
            # After the conversations, since reviews tell who wrote a reply.
            connection.execute(reviews.delete().where(_by(user, reviews.c.annotator)))
            for table in (triage, notes, readings, samples, categories, guidelines):
                connection.execute(table.update().where(_by(user, table.c.annotator)).values(annotator=None))
    if store.engine.dialect.name == "sqlite" and not only_count:
        with closing(store.engine.raw_connection()) as raw:  # the log of writes has the old pages
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Forgotten({name: count for name, count in counts.items() if count}, touched)


def _by(user: str | None, column: sql.Column[Any]) -> sql.ColumnElement[bool]:
    """Return the condition of what a user did; of nothing without a user."""
    return sql.false() if user is None else column == user


def _owned(talks: sql.Select[Any], said: sql.Select[Any], user: str | None) -> dict[sql.Table, sql.ColumnElement[bool]]:
    """Return, by table, the condition of the rows that go with some conversations, or with what a user said."""
    flagged = _flagged(said)
    seen = canary.c.conversation.in_(_named(talks).union(_tried(said)))
    queued = sql.select(queue.c.id).where(queue.c.conversation_id.in_(talks))
    by_message = (generations, measures, candidates, signals, flags, sampled, readings)
    return {
        conversations: conversations.c.id.in_(talks),
        messages: messages.c.id.in_(said),
        turns: turns.c.conversation_id.in_(talks),
        ratings: ratings.c.message_id.in_(said) | _by(user, ratings.c.annotator),
        notes: notes.c.message_id.in_(said) | _noted(user),
        queue: queue.c.conversation_id.in_(talks),
        reviews: reviews.c.queue_id.in_(queued) | _by(user, reviews.c.annotator),
        **{table: table.c.message_id.in_(said) for table in by_message},
        triage: triage.c.flag_id.in_(flagged),
        cases: _case_of(said),
        answers: _answered(said),
        canary: seen if user is None else seen | (canary.c.conversation == key_of_user(user)),
    }


def _noted(user: str | None) -> sql.ColumnElement[bool]:
    """Return the condition of the rows of a user's notes, whoever changed them."""
    first = notes.alias("first")
    own = sql.select(first.c.id).where(first.c.first_id.is_(None), _by(user, first.c.annotator))
    return notes.c.id.in_(own) | notes.c.first_id.in_(own)


def _named(talks: sql.Select[Any]) -> Any:
    """Return the names of conversations in the canary: the key of one of the API, else the id."""
    name = sql.func.coalesce(conversations.c.key, sql.cast(conversations.c.id, sql.String))
    return talks.with_only_columns(name)


def _tried(said: sql.Select[Any]) -> sql.Select[Any]:
    """Return the names in the canary of the conversations of some replies of the API."""
    return sql.select(generations.c.canary).where(generations.c.message_id.in_(said), generations.c.canary.is_not(None))


def _flagged(said: sql.Select[Any]) -> sql.Select[Any]:
    """Return the flags of some replies."""
    return sql.select(flags.c.id).where(flags.c.message_id.in_(said))


def _case_of(said: sql.Select[Any]) -> sql.ColumnElement[bool]:
    """Return the condition of the cases that were made of some replies."""
    return cases.c.message_id.in_(said) | cases.c.flag_id.in_(_flagged(said))


def _answered(said: sql.Select[Any]) -> sql.ColumnElement[bool]:
    """Return the condition of what models answered to these cases, which may repeat what was said."""
    return (answers.c.task == CASES) & answers.c.item.in_(sql.select(cases.c.digest).where(_case_of(said)))
