"""A whole store as JSON Lines: takes a store, writes a header and then each row with the name of its table.

Tables come in an order in which each row refers only to earlier ones; the same content gives the same bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from sayso.base.jsonl import write_jsonl
from sayso.feedback.store import Store
from sayso.feedback.tables import measures, metadata, migrations_table

FORMAT = "sayso store"
TABLES = tuple(table for table in metadata.sorted_tables if table not in (migrations_table, measures))
"""All but what is derived from others."""


def export_store(store: Store, path: Path) -> dict[str, int]:
    """Write all rows as they are at one moment to a file; return their number by table."""
    level = {} if store.engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with store.engine.connect().execution_options(**level) as connection, connection.begin():
        count = sql.func.count
        counts = {one.name: connection.scalar(sql.select(count()).select_from(one)) or 0 for one in TABLES}
        done = sorted(connection.scalars(sql.select(migrations_table.c.name)))
        header = {"format": FORMAT, "migrations": done, "rows": counts}
        write_jsonl(path, _lines(connection, header))
    return counts


def _lines(connection: sql.Connection, header: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield header
    for table in TABLES:
        query = table.select().order_by(*table.primary_key.columns)
        for row in connection.execution_options(yield_per=1000).execute(query).mappings():
            yield {"table": table.name, **row}
