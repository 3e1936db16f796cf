"""Numbers of imported rows: takes those of the file, returns those that the rows have in the store.

Rows keep their numbers in tables that were never used. In others they get new ones, above all that were ever given.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.export_store import TABLES
from sayso.feedback.tables import canary, generations, messages

Row = dict[str, Any]
_MOST = 2**31  # numbers are below, in every database


class Renumbered:
    """The numbers of one import in progress."""

    def __init__(self, connection: sql.Connection) -> None:
        self._connection = connection
        self._next = {table.name: _last(connection, table) + 1 for table in TABLES if "id" in table.c}
        self._unused = {name for name, number in self._next.items() if number == 1}
        self._numbers: dict[str, dict[int, int | None]] = defaultdict(dict)  # by table; None: left out
        self._new: dict[str, set[int]] = defaultdict(set)

    def mapped(self, table: sql.Table, row: Row, damaged: Callable[[str], UserError]) -> Row | None:
        """Return a row that refers to rows by their numbers in the store; None if one of them was left out."""
        found = dict(row)
        for name, target in _references(table).items():
            old = row[name]
            if old is None:
                continue
            if not isinstance(old, int) or old not in self._numbers[target]:
                raise damaged(f"it refers to {str(old)[:20]} in '{target}', which is not in the file")
            found[name] = self._numbers[target][old]
            if found[name] is None:
                return None
        if table is canary and str(row["conversation"]).isdecimal():  # of the page; those of the API have keys
            talk = self.new_number("conversations", int(row["conversation"]))
            found["conversation"] = row["conversation"] if talk is None else str(talk)
        if "id" in row and not (isinstance(row["id"], int) and 0 < row["id"] < _MOST):
            raise damaged(f"its number is {str(row['id'])[:20]}")
        return found

    def give(self, table: sql.Table, row: Row, mapped: Row, found: int | None) -> int:
        """Return the number of a row: that of the one `found` in the store, or a new one, which `mapped` gets."""
        if "id" not in table.c:
            return int(mapped[table.primary_key.columns.keys()[0]])
        number = found
        if number is None:
            number = row["id"] if table.name in self._unused else self._next[table.name]
            self._next[table.name] = max(number + 1, self._next[table.name])
            self._new[table.name].add(number)
            mapped["id"] = number
        self._numbers[table.name][row["id"]] = number
        return int(number)

    def leave_out(self, table: sql.Table, row: Row) -> None:
        """Note that a row is not in the store; nor are those that refer to it."""
        if "id" in row:
            self._numbers[table.name][row["id"]] = None

    def keeps(self, table: sql.Table) -> bool:
        """Whether rows keep the numbers of the file in a table, which was never used."""
        return table.name in self._unused

    def is_new(self, column: sql.Column[Any], number: int) -> bool:
        """Whether the row to which a column refers was added by this import."""
        return number in self._new[_references(column.table)[column.name]]

    def new_number(self, table: str, old: int | None) -> int | None:
        """Return the number in the store of a row of the file; None if it is in neither."""
        return None if old is None else self._numbers[table].get(old)

    def close(self) -> None:
        """Let the database continue above the numbers that were given; SQLite does so by itself."""
        if self._connection.dialect.name == "postgresql":
            for name in [name for name, given in self._new.items() if given]:
                counter = sql.func.pg_get_serial_sequence(name, "id")
                self._connection.execute(sql.select(sql.func.setval(counter, self._next[name] - 1)))


def _references(table: sql.Table) -> dict[str, str]:
    """Return the columns of a table that name rows, with the tables of these."""
    found = {key.parent.name: key.column.table.name for key in table.foreign_keys}
    return found | {"base_id": messages.name} if table is generations else found


def _last(connection: sql.Connection, table: sql.Table) -> int:
    """Return the greatest number that a table's rows ever had."""
    if connection.dialect.name == "postgresql":
        counter = connection.scalar(sql.select(sql.func.pg_get_serial_sequence(table.name, "id")))
        last, called = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {counter}").one()
        given = int(last) if called else 0
    else:
        query = sql.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        given = connection.scalar(query, {"name": table.name}) or 0
    return max(given, connection.scalar(sql.select(sql.func.max(table.c.id))) or 0)
