"""The tables of a life's store, and how an older store becomes a newer one.

A database address enters, an engine over an up-to-date schema leaves. A new store is made whole; an older one gets
the named migrations that it lacks, in order, under a lock, so that two processes may open it at once. SQLite runs in
WAL mode and takes its write lock when a transaction begins, so that a writer waits instead of failing half way.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError

from sayso.base.errors import UserError, require

DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite"}
DRIVERS |= dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), "postgresql+psycopg")
metadata = sql.MetaData()

migrations_table = sql.Table(
    "migrations",
    metadata,
    sql.Column("name", sql.String(80), primary_key=True),
    sql.Column("applied_at", sql.String(32), nullable=False),
)
conversations = sql.Table(
    "conversations",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("title", sql.Text, nullable=False),
    sql.Column("head_id", sql.Integer),  # last message of the branch in view; no foreign key: that would be a circle
    sql.Column("created_at", sql.String(32), nullable=False),
    sql.Column("updated_at", sql.String(32), nullable=False, index=True),
    sqlite_autoincrement=True,  # the id of a deleted conversation is never given to another
)
# A tree: replies to the same message are siblings, so regenerating loses nothing.
messages = sql.Table(
    "messages",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("parent_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("created_at", sql.String(32), nullable=False),
    # Of a reply only: what it was asked with, and how it was made.
    sql.Column("prompt", sql.JSON),
    sql.Column("model", sql.Text),
    sql.Column("fingerprint", sql.String(64)),
    sql.Column("sampling", sql.JSON),
    sql.Column("finish", sql.String(16)),
    sql.Column("prompt_tokens", sql.Integer),
    sql.Column("completion_tokens", sql.Integer),
    sql.Column("seconds", sql.Float),
    sqlite_autoincrement=True,
)
# Append-only: a change of mind is another row, and the latest one counts. A thumb's value is 1, -1, or 0 (taken back),
# an edit's 1 or 0 (taken back), a choice's 1 or 0 (no preference).
ratings = sql.Table(
    "ratings",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("message_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("kind", sql.String(16), nullable=False),  # thumb, edit, choice
    sql.Column("value", sql.Integer, nullable=False),
    sql.Column("text", sql.Text),  # edit: what it should have said
    sql.Column("rejected_id", sql.ForeignKey("messages.id", ondelete="CASCADE")),  # choice: the other reply
    sql.Column("comment", sql.Text),
    sql.Column("snapshot", sql.JSON, nullable=False),  # the conversation and the replies as they stood
    sql.Column("created_at", sql.String(32), nullable=False),
    sqlite_autoincrement=True,
)

Migration = tuple[str, Callable[[sql.Connection], None]]
# Later changes are added below the first, which a new store has by being made from the tables above.
MIGRATIONS: tuple[Migration, ...] = (("conversations, messages, ratings", metadata.create_all),)
LOCK = 7_297_296  # any constant: the key of PostgreSQL's advisory lock while migrating


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def open_engine(where: str | Path, steps: tuple[Migration, ...] = MIGRATIONS) -> sql.Engine:
    """Open a store by SQLite path or database address, and bring its schema up to date.

    Raises `UserError` when it cannot be opened, is no store, or was written by a newer version.
    """
    engine = _connect(where)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            _migrate(connection, steps)
    except DBAPIError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise UserError(
            f"The store must be a database that can be opened and written; '{shown}' says "
            f"'{str(error.orig).strip().splitlines()[0]}'. Repair it, or name another with --store."
        ) from error
    return engine


def _connect(where: str | Path) -> sql.Engine:
    """Make an engine; a path means SQLite, an address is any that SQLAlchemy knows."""
    if "://" not in str(where):
        path = Path(where)
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = sql.create_engine(sql.URL.create("sqlite", database=str(path)))
    else:
        engine = sql.create_engine(_address(str(where)), pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _prepare_sqlite)
        sql.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _address(where: str) -> sql.URL:
    """Read an address of SQLite or PostgreSQL; `UserError` for any other, which the store was never tried on."""
    try:
        address = sql.make_url(where)
        kind = DRIVERS.get(address.drivername)
    except (ArgumentError, ValueError):
        kind = None
    if kind is None:
        raise UserError(
            "A store is a file, or an address such as sqlite:///ratings.sqlite or postgresql://user@host/name; got "
            f"'{_hidden(where)}'."
        )
    if kind != "sqlite":
        require("psycopg", "postgres")
    return address.set(drivername=kind)


def _hidden(where: str) -> str:
    """Return an address without its user and password."""
    scheme, _, rest = where.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _prepare_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    connection.isolation_level = None  # we say BEGIN ourselves, below
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(connection: sql.Connection, steps: tuple[Migration, ...]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(LOCK)))
    names = [name for name, _ in steps]
    if not sql.inspect(connection).has_table(migrations_table.name):
        metadata.create_all(connection)
        missing = names
    else:
        done = set(connection.scalars(sql.select(migrations_table.c.name)))
        if unknown := sorted(done - set(names)):
            raise UserError(
                f"This store was written by a newer sayso (it has '{unknown[0]}'); upgrade sayso to open it."
            )
        missing = [name for name in names if name not in done]
        for name, step in steps:
            if name in missing:
                step(connection)
    if missing:
        rows = [{"name": name, "applied_at": now()} for name in missing]
        connection.execute(migrations_table.insert(), rows)
