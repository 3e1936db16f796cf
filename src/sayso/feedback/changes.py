"""What a store has so far, in one number per table, so that a reader can tell what is new."""

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import (
    aliases,
    canary,
    candidates,
    cases,
    flags,
    guidelines,
    messages,
    queue,
    ratings,
    reviews,
    signals,
    triage,
)

WATCHED = (
    *(messages, ratings, signals, flags, triage, cases, candidates, canary, aliases),
    *(queue, reviews, guidelines),
)


def store_marks(store: Store) -> dict[str, tuple[int, int]]:
    """Return the lowest and the highest id of each watched table: rows are added at the end, and old ones deleted."""
    ends = [sql.func.coalesce(end(table.c.id), 0) for table in WATCHED for end in (sql.func.min, sql.func.max)]
    columns = [sql.select(end).scalar_subquery() for end in ends]
    with store.engine.begin() as connection:
        row = connection.execute(sql.select(*columns)).one()
    return {table.name: (row[2 * number], row[2 * number + 1]) for number, table in enumerate(WATCHED)}
