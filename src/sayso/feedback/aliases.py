"""Aliases such as `stable`: names that point to a model, with an append-only history in a life's store.

A promotion is one row, and so is a roll-back, which names the model before again; nothing is ever changed or deleted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import aliases, now

Kind = Literal["promoted", "overridden", "rolled back"]


@dataclass(frozen=True)
class Assignment:
    """One entry of the history: from `created_at` on, the alias names the model."""

    id: int
    alias: str
    model: str
    fingerprint: str
    """Fingerprint of its weights and tokenizer."""
    kind: Kind
    """overridden: promoted by a person against the gate."""
    reason: str | None
    evidence: Any
    """What the gate found, or a canary, as JSON-ready data; None for a roll-back by a person."""
    created_at: str


class Aliases:
    """The aliases of a store."""

    def __init__(self, store: Store) -> None:
        self.store, self._engine = store, store.engine

    def assign(
        self,
        alias: str,
        model: str,
        fingerprint: str,
        *,
        after: Assignment | None,
        evidence: Any = None,
        reason: str | None = None,
    ) -> Assignment:
        """Let an alias name a model from now on; with a `reason`, a person has overridden the gate.

        `after`: the entry that the gate compared with, None for a new alias. Raises `UserError` if it is not the
        current one any more, because the gate has then said nothing about the model that would be replaced.
        """
        with self._changing() as connection:
            current = _current(connection, alias)
            if current is not None and (after is None or after.id != current.id):
                raise UserError(
                    f"'{alias}' has named '{current.model}' since {current.created_at}, which '{model}' was not "
                    "compared with; repeat 'sayso promote'."
                )
            kind: Kind = "promoted" if reason is None else "overridden"
            return _add(connection, alias, model, fingerprint, kind, reason, evidence)

    def roll_back(self, alias: str, reason: str | None = None) -> Assignment:
        """Let an alias name again the model that it named before its last promotion that still counts.

        Raises `UserError` if there is none.
        """
        with self._changing() as connection:
            standing = _standing(_history(connection, alias))
            if not standing:
                raise UserError(f"There is no alias '{alias}' to roll back; 'sayso aliases' lists those that exist.")
            if len(standing) < 2:
                raise UserError(
                    f"'{alias}' has named no model before '{standing[-1].model}', so there is nothing to roll back to."
                )
            before = standing[-2]
            return _add(connection, alias, before.model, before.fingerprint, "rolled back", reason, None)

    def withdraw(self, entry: Assignment, instead: Assignment, reason: str, evidence: Any) -> Assignment | None:
        """Roll an alias back to the model of another alias; None if it has moved since the entry, so that it stays."""
        with self._changing() as connection:
            current = _current(connection, entry.alias)
            if current is None or current.id != entry.id:
                return None
            return _add(connection, entry.alias, instead.model, instead.fingerprint, "rolled back", reason, evidence)

    def current(self, alias: str, when: str | None = None) -> Assignment | None:
        """Return what an alias names now, or named at a time (UTC, ISO 8601); None if it did not exist."""
        with self._engine.begin() as connection:
            return _current(connection, alias, when)

    def others(self, entry: Assignment) -> list[str]:
        """Return the other aliases that name the model of an entry now."""
        last = sql.select(sql.func.max(aliases.c.id)).group_by(aliases.c.alias)
        same = (aliases.c.model == entry.model, aliases.c.fingerprint == entry.fingerprint)
        query = sql.select(aliases.c.alias).where(aliases.c.id.in_(last), *same, aliases.c.alias != entry.alias)
        with self._engine.begin() as connection:
            return [*connection.scalars(query.order_by(aliases.c.alias))]

    def history(self, alias: str | None = None) -> list[Assignment]:
        """Return the history of one alias or of all, oldest first."""
        with self._engine.begin() as connection:
            return _history(connection, alias)

    @contextmanager
    def _changing(self) -> Iterator[sql.Connection]:
        """Begin a transaction that reads the history and adds to it while no other one adds; readers do not wait."""
        with self._engine.execution_options(writes=True).begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                connection.exec_driver_sql("LOCK TABLE aliases IN SHARE ROW EXCLUSIVE MODE")
            yield connection


def _current(connection: sql.Connection, alias: str, when: str | None = None) -> Assignment | None:
    query = aliases.select().where(aliases.c.alias == alias).order_by(aliases.c.id.desc()).limit(1)
    if when is not None:
        query = query.where(aliases.c.created_at <= when)
    row = connection.execute(query).mappings().one_or_none()
    return Assignment(**row) if row else None


def _history(connection: sql.Connection, alias: str | None) -> list[Assignment]:
    query = aliases.select().order_by(aliases.c.id)
    if alias is not None:
        query = query.where(aliases.c.alias == alias)
    return [Assignment(**row) for row in connection.execute(query).mappings()]


def _standing(history: Sequence[Assignment]) -> list[Assignment]:
    """Return the promotions that no roll-back has undone, the current one last."""
    found: list[Assignment] = []
    for entry in history:
        if entry.kind == "rolled back":
            found.pop()
        else:
            found.append(entry)
    return found


def _add(
    connection: sql.Connection,
    alias: str,
    model: str,
    fingerprint: str,
    kind: Kind,
    reason: str | None,
    evidence: Any,
) -> Assignment:
    row = {
        "alias": alias,
        "model": model,
        "fingerprint": fingerprint,
        "kind": kind,
        "reason": storable(reason),
        "evidence": evidence,
        "created_at": now(),
    }
    made = connection.execute(aliases.insert().values(row).returning(aliases.c.id)).scalar_one()
    return Assignment(id=made, **row)
