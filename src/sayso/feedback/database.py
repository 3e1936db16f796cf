"""The database of a life's store: takes its address, returns an engine with an up-to-date schema.

A new store is created atomically; an older one is migrated under a lock. SQLite runs in WAL mode and takes its write
lock at the beginning of a transaction, so that a second writer waits instead of failing.
"""

import json
import os
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from sayso.base.errors import UserError, require
from sayso.feedback.migrations import MIGRATIONS, Migration, migrate
from sayso.feedback.tables import migrations_table

DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite"}
DRIVERS |= dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), "postgresql+psycopg")
DAMAGE = ("malformed", "not a database", "Could not decode to UTF-8")  # SQLite's messages about a corrupted file

_CHECKED = (
    32 * 2**20
)  # bytes: a larger file is not read as a whole when it is opened; reading a damaged page is an error


class StoreError(UserError):
    """The database failed, and the request had no effect, unless it failed during the commit, when both is possible.

    `full` is whether it is out of space.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


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
            migrate(connection, steps)
    except UserError:
        engine.dispose()
        raise
    except DBAPIError as error:
        engine.dispose()
        shown = engine.url.render_as_string(hide_password=True)
        kind = StoreError if isinstance(error, OperationalError) else UserError  # it may be back later
        raise kind(
            f"The store must be a database that can be opened and written; opening '{shown}' failed with "
            f"'{str(error.orig).strip().splitlines()[0]}'. Restore it, or choose another with --store."
        ) from error


def _check_file(path: Path, engine: sql.Engine) -> None:
    """Raise `UserError` for a file that is empty, damaged, or not a store."""
    if path.is_file() and not path.stat().st_size:
        raise _damaged(str(path), "it is empty")
    try:
        with engine.begin() as connection:
            small = path.is_file() and path.stat().st_size <= _CHECKED
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one() if small else "ok"
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


def _connect(where: str | Path) -> sql.Engine:
    """Return an engine for the path of an SQLite file, or an address in SQLAlchemy's format."""
    address = sql.URL.create("sqlite", database=str(where)) if "://" not in str(where) else _address(str(where))
    shown = address.render_as_string(hide_password=True)

    def report_damage(context: sql.engine.ExceptionContext) -> None:
        if any(message in str(context.original_exception) for message in DAMAGE):
            raise _damaged(shown, str(context.original_exception)) from context.original_exception

    engine = sql.create_engine(address, pool_pre_ping="://" in str(where), json_deserializer=partial(_from_json, shown))
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _prepare_sqlite)
        sql.event.listen(engine, "begin", _begin_sqlite)
        sql.event.listen(engine, "handle_error", report_damage)
    return engine


def _from_json(shown: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(shown, f"a row has invalid JSON: {error}") from error


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
            f"'{hidden(where)}'."
        )
    if kind != "sqlite":
        require("psycopg", "postgres")
    return address.set(drivername=kind)


def hidden(where: str) -> str:
    """Return an address without user and password; a path as it is."""
    scheme, mark, rest = where.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else where


def _prepare_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    connection.isolation_level = None  # BEGIN is issued explicitly below
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sql.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
