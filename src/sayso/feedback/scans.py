"""How far detectors and programs have looked through a store's replies, so that each goes on where it ended.

The marks are in the store, since they are about its messages: everyone who scans it shares them.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sql

from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import now, scans


class Looks(Protocol):
    """What looks at replies: a detector, or a program."""

    @property
    def name(self) -> str:
        """Its name, under which its mark is kept."""

    @property
    def version(self) -> str:
        """Changes when it has to look at everything again."""

    @property
    def question(self) -> str | None:
        """What it asks a judge, if it is a question."""


_One = TypeVar("_One", bound=Looks)


class Scans:
    """The marks of a store, by name and version of what looked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due(self, detectors: Sequence[_One]) -> dict[int, list[_One]]:
        """Return the detectors by the message after which they look; 0 for a new version, which looks at everything."""
        query = sql.select(scans.c.detector, scans.c.version, scans.c.message_id)
        with self._store.engine.begin() as connection:
            marks = {(name, version): upto for name, version, upto in connection.execute(query)}
        found: dict[int, list[_One]] = {}
        for one in detectors:
            found.setdefault(marks.get((one.name, one.version), 0), []).append(one)
        return dict(sorted(found.items()))

    def done(self, detectors: Sequence[Looks], upto: int) -> None:
        """Keep that these detectors have looked at every message up to one; a mark never goes back."""
        rows = [
            {
                "detector": one.name,
                "version": one.version,
                "message_id": upto,
                "question": None if one.question is None else storable(one.question),
                "created_at": now(),
            }
            for one in detectors
        ]
        if rows:
            with self._store.engine.execution_options(writes=True).begin() as connection:
                connection.execute(_kept(connection.dialect.name), rows)

    def questions(self) -> dict[str, str]:
        """Return the questions to judges that were asked about replies, by the names of their detectors."""
        query = sql.select(scans.c.detector, scans.c.question).where(scans.c.question.is_not(None))
        with self._store.engine.begin() as connection:
            rows = connection.execute(query.order_by(scans.c.id))
            return {str(name): str(question) for name, question in rows}


def _kept(dialect: str) -> Any:
    """Return an insertion that moves a mark forward if it is there."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    made: Any = insert(scans)
    same, new = [scans.c.detector, scans.c.version], made.excluded.message_id
    return made.on_conflict_do_update(index_elements=same, set_={"message_id": new}, where=scans.c.message_id < new)
