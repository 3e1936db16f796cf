"""The tables of a life's store, and the migrations of older stores.

Takes a database address, returns an engine with an up-to-date schema. A new store is created atomically; an older one
gets the migrations that it lacks, in order, under a lock, so that two processes can open it at the same time. SQLite
runs in WAL mode and takes its write lock at the beginning of a transaction, so that a second writer waits instead of
failing.
"""

import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

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
    sql.Column("head_id", sql.Integer),  # last message of the current branch; no foreign key: that would be a cycle
    sql.Column("created_at", sql.String(32), nullable=False),
    sql.Column("updated_at", sql.String(32), nullable=False, index=True),
    sqlite_autoincrement=True,  # the id of a deleted conversation is never reused
)
# The prompts of replies; they may contain an edit that was removed later. Each prompt is a chain of turns, from the
# last to the first; prompts of a conversation share their common beginning.
turns = sql.Table(
    "turns",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    sql.Column("parent_id", sql.ForeignKey("turns.id", ondelete="CASCADE"), index=True),
    sql.Column("digest", sql.String(64), nullable=False),  # of this turn and all previous ones
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Index("turns_by_digest", "conversation_id", "digest"),
    sqlite_autoincrement=True,
)
# A tree: replies to the same message are siblings, so a regenerated reply does not replace the first one.
messages = sql.Table(
    "messages",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("parent_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("created_at", sql.String(32), nullable=False),
    # Only for replies: their prompt, and how they were generated.
    sql.Column("prompt_id", sql.ForeignKey("turns.id")),  # the last turn of its prompt
    sql.Column("left_out", sql.Integer),  # how many of the first turns did not fit
    sql.Column("model", sql.Text),
    sql.Column("fingerprint", sql.String(64)),
    sql.Column("sampling", sql.JSON),
    sql.Column("finish", sql.String(16)),
    sql.Column("prompt_tokens", sql.Integer),
    sql.Column("completion_tokens", sql.Integer),
    sql.Column("seconds", sql.Float),
    sqlite_autoincrement=True,
)
# Append-only: a changed rating is a new row, and the latest one counts. A thumb's value is 1, -1, or 0 (removed), an
# edit's 1 or 0 (removed), a choice's 1 or 0 (no preference). Messages never change.
ratings = sql.Table(
    "ratings",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("message_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("kind", sql.String(16), nullable=False),  # thumb, edit, choice
    sql.Column("value", sql.Integer, nullable=False),
    sql.Column("text", sql.Text),  # edit: the corrected reply
    sql.Column("rejected_id", sql.ForeignKey("messages.id", ondelete="CASCADE")),  # choice: the other reply
    sql.Column("comment", sql.Text),
    sql.Column("position", sql.String(8)),  # choice: side of the chosen reply, left or right
    sql.Column("created_at", sql.String(32), nullable=False),
    sqlite_autoincrement=True,
)

# What models answered to the items of evaluation tasks. An answer is never changed: another prompt, rule or model is
# another row.
answers = sql.Table(
    "answers",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("model", sql.String(64), nullable=False),  # fingerprint of the weights and the tokenizer, or of a server
    sql.Column("task", sql.String(100), nullable=False),
    sql.Column("prompt", sql.String(64), nullable=False),  # hash of all that was asked, and how it was scored
    sql.Column("item", sql.Text, nullable=False),
    sql.Column("answer", sql.JSON, nullable=False),
    sql.Column("created_at", sql.String(32), nullable=False),
    sql.UniqueConstraint("model", "task", "prompt", "item", name="answers_once"),
    sqlite_autoincrement=True,
)

# Which model an alias such as `stable` named, and since when. Append-only: the latest row of an alias counts, and what
# a roll-back undoes stays in the history.
aliases = sql.Table(
    "aliases",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("alias", sql.String(64), nullable=False, index=True),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("fingerprint", sql.String(64), nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),  # promoted, overridden, rolled back
    sql.Column("reason", sql.Text),  # of a person who overrode the gate or rolled back
    sql.Column("evidence", sql.JSON),  # what the gate found
    sql.Column("created_at", sql.String(32), nullable=False),
    sqlite_autoincrement=True,
)


class StoreError(UserError):
    """The database failed; the request had no effect. `full` is whether it is out of space."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


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


Migration = tuple[str, Callable[[sql.Connection], None]]
# Append later changes. A new store has them all because it is created from the tables above.
MIGRATIONS: tuple[Migration, ...] = (
    ("conversations, messages, ratings", metadata.create_all),
    ("prompts are kept once", _keep_prompts_once),
    ("answers to evaluation tasks", lambda connection: answers.create(connection, checkfirst=True)),
    ("history of aliases", lambda connection: aliases.create(connection, checkfirst=True)),
)
DAMAGE = ("malformed", "not a database", "Could not decode to UTF-8")  # SQLite's messages about a corrupted file
_LOCK = 7_297_296  # any constant: the key of PostgreSQL's advisory lock while migrating


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def open_engine(where: str | Path, steps: tuple[Migration, ...] = MIGRATIONS) -> sql.Engine:
    """Open a store by SQLite path or database address, and migrate its schema.

    Raises `UserError` if it cannot be opened, is damaged, is not a store, or was written by a newer version.
    """
    path = store_file(where)
    if path is not None:
        _check_owner(path)
        if not path.exists():
            _create(path, steps)
    engine = _connect(where)
    try:
        if path is not None:
            _check_file(path, engine)
        _upgrade(engine, steps)
    except BaseException:
        engine.dispose()
        raise
    sql.event.listen(engine, "handle_error", _plain_error, retval=True)
    return engine


def store_file(where: str | Path) -> Path | None:
    """Return the SQLite file of a store's path or address; None for another database."""
    if "://" not in str(where):
        return Path(where)
    address = _address(str(where))
    if address.get_backend_name() != "sqlite" or is_in_memory(str(where)):
        return None
    return Path(address.database or "")


def is_in_memory(where: str) -> bool:
    """Whether a store's address is that of an in-memory database."""
    if "://" not in where:
        return False
    address = _address(where)
    return address.get_backend_name() == "sqlite" and address.database in (None, "", ":memory:")


def _create(path: Path, steps: tuple[Migration, ...]) -> None:
    """Create an empty store atomically, under a temporary name first: an empty file would be a damaged store."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder) / path.name
        engine = _connect(part)
        _upgrade(engine, steps)
        engine.dispose()
        try:
            os.link(part, path)
        except FileExistsError:  # another process created it in the meantime
            return
        except OSError:  # a file system without hard links
            part.replace(path)


def _upgrade(engine: sql.Engine, steps: tuple[Migration, ...]) -> None:
    try:
        with engine.execution_options(writes=True).begin() as connection:
            _migrate(connection, steps)
    except UserError:
        engine.dispose()
        raise
    except DBAPIError as error:
        engine.dispose()
        shown = engine.url.render_as_string(hide_password=True)
        raise UserError(
            f"The store must be a database that can be opened and written; opening '{shown}' failed with "
            f"'{str(error.orig).strip().splitlines()[0]}'. Restore it, or choose another with --store."
        ) from error


def _check_file(path: Path, engine: sql.Engine) -> None:
    """Raise `UserError` for a file that is empty, damaged, or not a store."""
    if path.is_file() and not path.stat().st_size:
        raise _damaged(str(path), "it is empty")
    try:
        with engine.begin() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
            known = sql.inspect(connection).has_table(migrations_table.name)
    except DBAPIError as error:
        if isinstance(error, OperationalError):  # locked or not readable; opening the store reports it
            return
        raise _damaged(str(path), str(error.orig)) from error
    if found != "ok":
        raise _damaged(str(path), str(found).splitlines()[-1])
    if not known:
        raise UserError(f"'{path}' is a database, but not a Sayso store; choose another with --store.")


def _damaged(shown: str, reason: str) -> UserError:
    return UserError(
        f"The store '{shown}' is damaged ({reason.strip()}); restore it from a backup, or move it away to start a new "
        "one."
    )


def _check_owner(path: Path) -> None:
    """Raise `UserError` for an SQLite file of another program, without modifying it."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return  # opening it as a store reports the problem
    if tables and not tables >= {"migrations", "conversations"}:
        raise UserError(
            f"'{path}' is a database of another program (it has the table '{min(tables)}') and was not changed; "
            "choose another with --store, or another --life."
        )


def _plain_error(context: sql.ExceptionContext) -> BaseException | None:
    """Return a one-sentence error for a failure of the database; None if the statement is at fault."""
    error, original = context.sqlalchemy_exception, context.original_exception
    statement_errors = IntegrityError | ProgrammingError | DataError
    if context.is_pre_ping or not isinstance(error, DBAPIError) or isinstance(error, statement_errors):
        return None
    reason = (str(original).strip().splitlines() or [type(original).__name__])[0].rstrip(".")
    codes = (getattr(original, "sqlite_errorcode", None), getattr(original, "sqlstate", None))
    if codes[0] == sqlite3.SQLITE_FULL or codes[1] == "53100":
        return StoreError(f"The store's disk is full ({reason}). Free some space, then try again.", full=True)
    return StoreError(f"The store is not available ({reason}). Fix the database, then try again.")


def keep_prompt(connection: sql.Connection, conversation_id: int, prompt: Sequence[Mapping[str, str]]) -> int:
    """Store the turns of a prompt that its conversation does not have yet; return the id of the last turn."""
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
    """Return an engine for the path of an SQLite file, or an address in SQLAlchemy's format."""
    address = sql.URL.create("sqlite", database=str(where)) if "://" not in str(where) else _address(str(where))
    shown = address.render_as_string(hide_password=True)

    def from_json(text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _damaged(shown, f"a row has invalid JSON: {error}") from error

    def report_damage(context: sql.engine.ExceptionContext) -> None:
        if any(message in str(context.original_exception) for message in DAMAGE):
            raise _damaged(shown, str(context.original_exception)) from context.original_exception

    engine = sql.create_engine(address, pool_pre_ping="://" in str(where), json_deserializer=from_json)
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _prepare_sqlite)
        sql.event.listen(engine, "begin", _begin_sqlite)
        sql.event.listen(engine, "handle_error", report_damage)
    return engine


def _address(where: str) -> sql.URL:
    """Parse an address of SQLite or PostgreSQL. Raises `UserError` for any other database."""
    try:
        address = sql.make_url(where)
        kind = DRIVERS.get(address.drivername)
    except (ArgumentError, ValueError):
        kind = None
    if kind is None:
        raise UserError(
            "The store must be a file or an address like sqlite:///ratings.sqlite or postgresql://user@host/name; got "
            f"'{_hidden(where)}'."
        )
    if kind != "sqlite":
        require("psycopg", "postgres")
    return address.set(drivername=kind)


def _hidden(where: str) -> str:
    """Return an address without user and password."""
    scheme, _, rest = where.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _prepare_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    connection.isolation_level = None  # BEGIN is issued explicitly below
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(connection: sql.Connection, steps: tuple[Migration, ...]) -> None:
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
