"""Import of an exported store: takes its file, adds the rows that a store does not have, all or none.

Rows keep their numbers in tables that were never used, and get new ones in others. A row that the store has already is
known by its content and by that of the conversation that it belongs to, so a file can be imported twice.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, StatementError

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, lines_of
from sayso.feedback.database import StoreError
from sayso.feedback.export_store import FORMAT, TABLES
from sayso.feedback.migrations import MIGRATIONS
from sayso.feedback.renumber import Renumbered
from sayso.feedback.store import Store
from sayso.feedback.tables import aliases, conversations, messages, scans

Row = dict[str, Any]
_AT_ONCE = 500  # rows of one insertion
_ORDER = {table.name: place for place, table in enumerate(TABLES)}
_OWNERS = {
    **dict.fromkeys(("turns", "messages", "queue"), "conversation_id"),
    **dict.fromkeys(("generations", "candidates", "ratings", "signals", "flags", "notes"), "message_id"),
    **dict.fromkeys(("sampled", "readings"), "sample_id"),
    "triage": "flag_id",
    "reviews": "queue_id",
    "canary": "assignment_id",
}
"""The column that names the row to which a row belongs: what belongs to a new row is new."""
_KEYS = {
    "answers": ("model", "task", "prompt", "item"),
    "keys": ("hash",),
    "cases": ("digest",),
    "flags": ("message_id", "detector", "version"),
    "generations": ("message_id",),
    "sampled": ("sample_id", "message_id"),
    "readings": ("sample_id", "message_id"),
    "categories": ("name",),
    "queue": ("conversation_id", "prompt_id", "first_id", "second_id"),
    "reviews": ("queue_id", "act", "annotator"),
}
"""The columns by which a row is known, if these are not all but its number."""


@dataclass(frozen=True)
class Imported:
    """Numbers of rows by table."""

    added: dict[str, int]
    known: dict[str, int]
    """Of rows that the store had already."""
    left_out: dict[str, int]
    """Of the history of an alias of which the store has another one; of scans, if messages get other numbers."""


def import_store(store: Store, path: Path) -> Imported:
    """Add the rows of an exported file to a store.

    Raises `UserError`, and leaves the store as it was, for a file that is damaged or from a newer version.
    """
    with store.engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":  # the numbers of new rows are given here
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(_ORDER)} IN SHARE ROW EXCLUSIVE MODE")
        return _Import(connection, path).run()


class _Import:
    """One import in progress, in a transaction."""

    def __init__(self, connection: sql.Connection, path: Path) -> None:
        self._connection, self._path, self._at = connection, path, str(path)
        self._rows, self._existing = Renumbered(connection), cache(self._read_existing)
        self._pending: list[Row] = []
        self._talks: list[tuple[Row, int, bool]] = []  # conversations as they were, their numbers, whether they are new
        self._added, self._known, self._left_out = Counter[str](), Counter[str](), Counter[str]()
        self._own_aliases = {*connection.scalars(sql.select(aliases.c.alias).distinct())}

    def run(self) -> Imported:
        """Take all lines of the file."""
        lines = self._lines()
        wanted = self._header(next(lines, {}))
        last, seen = TABLES[0], Counter[str]()
        for row in lines:
            name = str(row.pop("table", None))
            if name not in _ORDER or _ORDER[name] < _ORDER[last.name]:
                raise self._damaged("it has no table, or not in the order of an export")
            if name != last.name:
                self._flush(last)
                last = TABLES[_ORDER[name]]
            self._take(last, row)
            seen[name] += 1
        self._flush(last)
        if seen != wanted:
            raise UserError(f"'{self._path}' is incomplete: rows are missing. Export the store again.")
        self._finish_conversations()
        self._rows.close()
        return Imported(*(dict(sorted((+found).items())) for found in (self._added, self._known, self._left_out)))

    def _lines(self) -> Iterator[Row]:
        for number, line in lines_of(self._path):
            self._at, bad = f"{self._path}:{number}", BadRows()
            row = bad.row(line, self._at)
            if bad.count:
                raise UserError(f"{bad.first[0]} Export the store again.")
            if row is not None:
                yield row

    def _header(self, row: Row) -> Counter[str]:
        """Return the numbers of rows that the file must have."""
        if row.get("format") != FORMAT or not isinstance(row.get("rows"), dict):
            raise UserError(f"'{self._path}' is no exported store; make one with 'sayso store export'.")
        if unknown := sorted({*row.get("migrations", [])} - {name for name, _ in MIGRATIONS}):
            raise UserError(
                f"'{self._path}' was written by a newer version of sayso (it has '{unknown[0]}'); upgrade sayso to "
                "import it."
            )
        return +Counter(row["rows"])

    def _take(self, table: sql.Table, row: Row) -> None:
        """Add a row, unless it is known, or belongs to one that is left out."""
        given = self._full(table, row)
        mapped = self._rows.mapped(table, given, self._damaged)
        found = None if mapped is None else self._find(table, mapped)
        if mapped is None or (found is None and self._is_foreign(table, row)):
            self._left_out[table.name] += 1
            self._rows.leave_out(table, given)
            return
        number = self._rows.give(table, given, mapped, found)
        if table is conversations:
            self._talks.append((given, number, found is None))
        if found is not None:
            self._known[table.name] += 1
            return
        self._added[table.name] += 1
        self._pending.append(mapped | ({"head_id": None} if table is conversations else {}))
        if len(self._pending) == _AT_ONCE:
            self._flush(table)

    def _full(self, table: sql.Table, row: Row) -> Row:
        """Return a row with all columns: an older store may lack some that have a default."""
        lacks = [column for column in table.c if column.name not in row]
        if {*row} - {*table.c.keys()} or any(not column.nullable and column.server_default is None for column in lacks):
            raise self._damaged(f"its fields are not those of the table '{table.name}'")
        defaults = {column.name: getattr(column.server_default, "arg", None) for column in lacks}
        return defaults | row

    def _is_foreign(self, table: sql.Table, row: Row) -> bool:
        """Whether a row is about something that is another thing in this store."""
        if table is scans:  # up to which message: of the numbers in the file
            return not self._rows.keeps(messages)
        return table is aliases and row["alias"] in self._own_aliases

    def _find(self, table: sql.Table, row: Row) -> int | None:
        """Return the number of the row that the store has already, each at most once; None if it has none."""
        owner = row[_OWNERS[table.name]] if table.name in _OWNERS else None
        if owner is not None and self._rows.is_new(table.c[_OWNERS[table.name]], owner):
            return None
        same = self._existing(table, owner).get(_key(table, row))
        return same.pop(0) if same else None

    def _read_existing(self, table: sql.Table, owner: int | None) -> dict[str, list[int]]:
        """Return the numbers of the rows of a table, or of those that belong to one row, by what they are known by."""
        query = table.select() if owner is None else table.select().where(table.c[_OWNERS[table.name]] == owner)
        found: dict[str, list[int]] = defaultdict(list)
        for row in self._connection.execute(query.order_by(*table.primary_key.columns)).mappings():
            found[_key(table, dict(row))].append(row[table.primary_key.columns.keys()[0]])
        return found

    def _flush(self, table: sql.Table) -> None:
        rows, self._pending = self._pending, []
        try:
            if rows:
                self._connection.execute(table.insert(), rows)
        except StoreError:
            raise
        except (DBAPIError, StatementError) as error:
            raise self._damaged(f"or a row before it does not fit the table '{table.name}'") from error

    def _finish_conversations(self) -> None:
        """Let conversations end with their last message; one that the store has may have continued elsewhere."""
        for was, number, new in self._talks:
            head = self._rows.new_number("messages", was["head_id"])
            update = conversations.update().where(conversations.c.id == number)
            if not new:
                update = update.where(conversations.c.updated_at < was["updated_at"])
            if head is not None or not new:
                self._connection.execute(update.values(head_id=head, updated_at=was["updated_at"]))

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self._at}: this line is damaged: {reason}. Export the store again.")


def _key(table: sql.Table, row: Row) -> str:
    """Return what a row is known by."""
    if table is conversations:
        names: Sequence[str] = ("key",) if row["key"] is not None else ("created_at", "user", "title")
    else:
        names = _KEYS.get(table.name, [name for name in table.c.keys() if name != "id"])  # noqa: SIM118
    return json.dumps([row[name] for name in names], sort_keys=True)
