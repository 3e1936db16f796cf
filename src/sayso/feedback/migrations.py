"""The migrations of older stores: takes a connection, brings its tables to those of `tables`."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.prompts import keep_prompt
from sayso.feedback.tables import (
    aliases,
    answers,
    canary,
    candidates,
    cases,
    categories,
    conversations,
    flags,
    generations,
    guidelines,
    keys,
    measures,
    messages,
    metadata,
    migrations_table,
    minutes,
    notes,
    now,
    queue,
    ratings,
    readings,
    reviews,
    sampled,
    samples,
    scans,
    signals,
    triage,
    turns,
)


def _keep_prompts_once(connection: sql.Connection) -> None:
    """Replace the full prompts of all replies and ratings by chains of turns."""
    turns.create(connection)
    for column in ("prompt_id INTEGER REFERENCES turns (id)", "left_out INTEGER"):
        connection.exec_driver_sql(f"ALTER TABLE messages ADD COLUMN {column}")
    connection.exec_driver_sql("ALTER TABLE ratings ADD COLUMN position VARCHAR(8)")
    old_prompt, old_snapshot = sql.column("prompt", sql.JSON), sql.column("snapshot", sql.JSON)
    for (reply,) in connection.execute(sql.select(messages.c.id).where(messages.c.model.is_not(None))).all():
        query = sql.select(messages.c.conversation_id, old_prompt).select_from(messages)
        talk, prompt = connection.execute(query.where(messages.c.id == reply)).one()
        if prompt:
            update = messages.update().where(messages.c.id == reply)
            connection.execute(update.values(prompt_id=keep_prompt(connection, talk, prompt), left_out=0))
    for (choice,) in connection.execute(sql.select(ratings.c.id).where(ratings.c.kind == "choice")).all():
        query = sql.select(old_snapshot).select_from(ratings).where(ratings.c.id == choice)
        position = (connection.scalar(query) or {}).get("position")
        connection.execute(ratings.update().where(ratings.c.id == choice).values(position=position))
    connection.exec_driver_sql("ALTER TABLE messages DROP COLUMN prompt")
    connection.exec_driver_sql("ALTER TABLE ratings DROP COLUMN snapshot")


def _add_generations(connection: sql.Connection) -> None:
    """Add the tables about replies, and the columns for who asked and who rated."""
    metadata.create_all(connection, tables=[keys, generations, candidates, signals, flags, triage, cases, canary])
    for column in (conversations.c.user, conversations.c.key, turns.c.extra):
        _add_column(connection, column)
    for column in (ratings.c.annotator, ratings.c.source, ratings.c.confidence):
        _add_column(connection, column)
    connection.exec_driver_sql("DROP INDEX IF EXISTS ix_messages_conversation_id")  # another one begins with it
    for table in (conversations, messages, ratings):
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _add_column(connection: sql.Connection, column: sql.Column[Any]) -> None:
    """Add a column that a table lacks; tables that an earlier migration has created from today's definition have it."""
    if column.name not in {found["name"] for found in sql.inspect(connection).get_columns(column.table.name)}:
        definition = sql.schema.CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")


def _add_samples(connection: sql.Connection) -> None:
    """Add the tables of samples of conversations, and of what is noted about them."""
    metadata.create_all(connection, tables=[samples, sampled, readings, categories, notes])


Migration = tuple[str, Callable[[sql.Connection], None]]
# Append later changes. A new store has them all because it is created from the tables above.
MIGRATIONS: tuple[Migration, ...] = (
    ("conversations, messages, ratings", metadata.create_all),
    ("prompts are kept once", _keep_prompts_once),
    ("answers to evaluation tasks", lambda connection: answers.create(connection, checkfirst=True)),
    ("history of aliases", lambda connection: aliases.create(connection, checkfirst=True)),
    ("generations, flags, keys", _add_generations),
    ("the canary of a reply", lambda connection: _add_column(connection, generations.c.canary)),
    ("scans", lambda connection: scans.create(connection, checkfirst=True)),
    ("samples, notes, categories", _add_samples),
    ("measures, minutes", lambda connection: metadata.create_all(connection, tables=[measures, minutes])),
    ("the queue of reviews", lambda connection: metadata.create_all(connection, tables=[queue, reviews, guidelines])),
)
_LOCK = 7_297_296  # any constant: the key of PostgreSQL's advisory lock while migrating


def migrate(connection: sql.Connection, steps: tuple[Migration, ...]) -> None:
    """Create the tables of a new store, or apply the migrations that an older one lacks, under a lock.

    Raises `UserError` for a database of another program, or a store that was written by a newer version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
    names = [name for name, _ in steps]
    inspector = sql.inspect(connection)
    if not inspector.has_table(migrations_table.name):
        if taken := sorted({*inspector.get_table_names()} & {*metadata.tables}):
            raise UserError(
                f"This database belongs to another program (it has the table '{taken[0]}'); choose another "
                "with --store."
            )
        metadata.create_all(connection)
        missing = names
    else:
        done = set(connection.scalars(sql.select(migrations_table.c.name)))
        if unknown := sorted(done - set(names)):
            raise UserError(
                f"This store was written by a newer version of sayso (it has '{unknown[0]}'); upgrade sayso to open it."
            )
        missing = [name for name in names if name not in done]
        for name, step in steps:
            if name in missing:
                step(connection)
    if missing:
        rows = [{"name": name, "applied_at": now()} for name in missing]
        connection.execute(migrations_table.insert(), rows)
