"""The tables of a life's store, and how an older store becomes a newer one.

A database address enters, an engine over an up-to-date schema leaves. A new store is made whole; an older one gets
the named migrations that it lacks, in order, under a lock, so that two processes may open it at once. SQLite runs in
WAL mode and takes its write lock when a transaction begins, so that a writer waits instead of failing half way.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError

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
# What replies were asked with: an earlier edit may stand in it that was taken back later. Each prompt is a chain of
# turns, from its last to its first, and shares those that it has in common with the other prompts of its conversation.
turns = sql.Table(
    "turns",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    sql.Column("parent_id", sql.ForeignKey("turns.id", ondelete="CASCADE"), index=True),
    sql.Column("digest", sql.String(64), nullable=False),  # of this turn and all before it
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Index("turns_by_digest", "conversation_id", "digest"),
    sqlite_autoincrement=True,
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
    sql.Column("prompt_id", sql.ForeignKey("turns.id")),  # the last of the turns that it was asked with
    sql.Column("left_out", sql.Integer),  # how many of the first of them had no room
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
# an edit's 1 or 0 (taken back), a choice's 1 or 0 (no preference). Messages never change.
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
    sql.Column("position", sql.String(8)),  # choice: where the chosen reply stood, left or right
    sql.Column("created_at", sql.String(32), nullable=False),
    sqlite_autoincrement=True,
)


class StoreError(UserError):
    """The database failed at what it was asked, which has not happened. `full`: it has no room left."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


def _keep_prompts_once(connection: sql.Connection) -> None:
    """Make chains of turns of the prompts that stood whole in every reply, and again in every rating of it."""
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


Migration = tuple[str, Callable[[sql.Connection], None]]
# Later changes are added below the first, which a new store has by being made from the tables above.
MIGRATIONS: tuple[Migration, ...] = (
    ("conversations, messages, ratings", metadata.create_all),
    ("prompts are kept once", _keep_prompts_once),
)
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
    sql.event.listen(engine, "handle_error", _plain_error, retval=True)
    return engine


def _plain_error(context: sql.ExceptionContext) -> BaseException | None:
    """Say in one sentence what the database, not the statement, fails at."""
    error, original = context.sqlalchemy_exception, context.original_exception
    ours = IntegrityError | ProgrammingError | DataError
    if context.is_pre_ping or not isinstance(error, DBAPIError) or isinstance(error, ours):
        return None
    reason = (str(original).strip().splitlines() or [type(original).__name__])[0].rstrip(".")
    codes = (getattr(original, "sqlite_errorcode", None), getattr(original, "sqlstate", None))
    if codes[0] == sqlite3.SQLITE_FULL or codes[1] == "53100":
        return StoreError(f"The disk under the store is full ({reason}). Free some space, then try again.", full=True)
    return StoreError(f"The store cannot be used now ({reason}). See to the database, then try again.")


def keep_prompt(connection: sql.Connection, conversation_id: int, prompt: Sequence[Mapping[str, str]]) -> int:
    """Keep the turns of a prompt that its conversation does not have yet; return the id of the last of them."""
    assert prompt
    digests = [""]
    for turn in prompt:
        text = f"{digests[-1]}\0{turn['role']}\0{turn['content']}"
        digests.append(hashlib.sha256(text.encode()).hexdigest())
    kept, last = len(prompt), None
    while kept:
        query = sql.select(turns.c.id).where(turns.c.conversation_id == conversation_id)
        last = connection.scalar(query.where(turns.c.digest == digests[kept]).limit(1))
        if last is not None:
            break
        kept -= 1
    for turn, digest in zip(prompt[kept:], digests[kept + 1 :], strict=True):
        row = {"conversation_id": conversation_id, "parent_id": last, "digest": digest}
        row |= {"role": turn["role"], "content": turn["content"]}
        last = connection.execute(turns.insert().values(row).returning(turns.c.id)).scalar_one()
    assert last is not None
    return last


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
