"""What a store has so far, in one number per table, so that a reader can tell what is new."""

from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import (
    aliases,
    canary,
    candidates,
    cases,
    categories,
    flags,
    guidelines,
    messages,
    minutes,
    notes,
    queue,
    ratings,
    readings,
    reviews,
    samples,
    signals,
    triage,
)

WATCHED = (
    *(messages, ratings, signals, flags, triage, cases, candidates, canary, aliases, minutes),
    *(samples, readings, notes, queue, reviews, guidelines),
)


def store_marks(store: Store) -> dict[str, tuple[Any, Any]]:
    """Return the lowest and the highest id of each watched table: rows are added at the end, and old ones deleted.

    Of categories, which are few and change, the number and the time of the last change.
    """
    ends = [sql.func.coalesce(end(table.c.id), 0) for table in WATCHED for end in (sql.func.min, sql.func.max)]
    columns = [sql.select(end).scalar_subquery() for end in ends]
    with store.engine.begin() as connection:
        row = connection.execute(sql.select(*columns)).one()
        changed = sql.select(sql.func.count(), sql.func.max(categories.c.updated_at)).select_from(categories)
        named = connection.execute(changed).one()
    ends_of = {table.name: (row[2 * number], row[2 * number + 1]) for number, table in enumerate(WATCHED)}
    return ends_of | {categories.name: (named[0], named[1])}
