"""Categories: what people call the problems that they noted; shared by all samples of a store."""

import keyword
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from sayso.base.errors import UserError
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.storable import storable
from sayso.feedback.store import MissingError, Store
from sayso.feedback.tables import categories, now

LONGEST_NAME = 100
_FUNCTION_NAME = 60  # characters, less than a detector's name may have


@dataclass(frozen=True)
class Category:
    """One category."""

    id: int
    name: str
    definition: str
    """When a note belongs to it, in one or two sentences; may be empty."""


class Categories:
    """The categories of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self._writes = store.engine.execution_options(writes=True)

    def listed(self) -> list[Category]:
        """Return all categories, oldest first."""
        with self._engine.begin() as connection:
            return _categories(connection, sql.true())

    def one(self, number: int) -> Category:
        """Return a category. Raises `UserError` if there is none with this number."""
        with self._engine.begin() as connection:
            return _one(connection, number)

    def add(self, name: str, definition: str = "", annotator: str | None = None) -> Category:
        """Make a category. Raises `UserError` for a name that is empty or taken."""
        at = now()
        row = _checked(name, definition) | {"annotator": annotator, "created_at": at, "updated_at": at}
        try:
            with self._writes.begin() as connection:
                made = connection.execute(categories.insert().values(row).returning(categories.c.id)).scalar_one()
                return _one(connection, made)
        except IntegrityError as error:
            raise _taken(row["name"]) from error

    def change(self, number: int, name: str, definition: str) -> Category:
        """Give a category another name or definition."""
        row = _checked(name, definition) | {"updated_at": now()}
        try:
            with self._writes.begin() as connection:
                _one(connection, number)
                connection.execute(categories.update().where(categories.c.id == number).values(row))
                return _one(connection, number)
        except IntegrityError as error:
            raise _taken(row["name"]) from error

    def remove(self, number: int) -> None:
        """Remove a category; its notes are in none then."""
        with self._writes.begin() as connection:
            _one(connection, number)
            connection.execute(categories.delete().where(categories.c.id == number))


def function_name(name: str) -> str:
    """Return the name of the Python function that detects a category: ASCII, and of no other detector."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_")[:_FUNCTION_NAME].strip("_")
    if not found.isidentifier() or keyword.iskeyword(found) or found in DETECTORS:
        found = f"has_{found or 'problem'}"
    return found


def _checked(name: str, definition: str) -> dict[str, Any]:
    plain = " ".join(storable(name).split())
    if not 0 < len(plain) <= LONGEST_NAME:
        raise UserError(f"The name of a category has 1 to {LONGEST_NAME} characters; got {len(plain)}.")
    return {"name": plain, "definition": storable(definition.strip())}


def _taken(name: str) -> UserError:
    return UserError(f"There is a category '{name}' already; put the notes into that one.")


def _one(connection: sql.Connection, number: int) -> Category:
    found = _categories(connection, categories.c.id == number)
    if not found:
        raise MissingError(f"There is no category {number}.")
    return found[0]


def _categories(connection: sql.Connection, condition: sql.ColumnElement[bool]) -> list[Category]:
    columns = (categories.c[name] for name in Category.__dataclass_fields__)
    query = sql.select(*columns).where(condition).order_by(categories.c.id)
    return [Category(**row) for row in connection.execute(query).mappings()]
