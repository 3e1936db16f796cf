"""The keys of a store: who may use its servers, in which role, and how often.

A key is made of 32 random bytes and shown once; the store has only its SHA-256 hash. A slow hash is for passwords:
nobody can guess 256 bits. A revoked key keeps its row, because recorded replies name it.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sql

from sayso.base.errors import UserError, nearest
from sayso.base.life import NAME_PATTERN
from sayso.feedback.store import Store
from sayso.feedback.tables import keys, now

Role = Literal["user", "rater", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do all that those before it may."""
LONGEST = 64  # characters of a name


@dataclass(frozen=True)
class Key:
    """One key."""

    id: int
    name: str
    hash: str
    role: Role
    per_minute: int | None
    """Most requests per minute; None: no limit."""
    created_at: str
    revoked_at: str | None


class Keys:
    """The keys of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def add(self, name: str, role: Role, per_minute: int | None = None) -> tuple[Key, str]:
        """Make a key; return it with the key itself. Raises `UserError` if the name is none, or has a key already."""
        if not NAME_PATTERN.fullmatch(name) or len(name) > LONGEST:
            raise UserError(f"A key has a name such as anna, of at most {LONGEST} characters; got '{name[:100]}'.")
        if role not in ROLES:
            raise UserError(f"The role of a key must be one of {', '.join(ROLES)}; got '{role}'.{nearest(role, ROLES)}")
        with self._changing() as connection:
            if _active(connection, name) is not None:
                raise UserError(
                    f"'{name}' has a key already; choose another name, or replace it: sayso keys rotate {name}"
                )
            return _make(connection, name, role, per_minute)

    def revoke(self, name: str) -> Key:
        """Let a key admit nobody any more. Raises `UserError` if there is none of this name."""
        with self._changing() as connection:
            return _revoke(connection, name)

    def rotate(self, name: str) -> tuple[Key, str]:
        """Replace a key by a new one with the same name, role and limit, as in `add`."""
        with self._changing() as connection:
            old = _revoke(connection, name)
            return _make(connection, name, old.role, old.per_minute)

    def every(self) -> list[Key]:
        """Return all keys, revoked ones too, oldest first."""
        with self._engine.begin() as connection:
            return [Key(**row) for row in connection.execute(keys.select().order_by(keys.c.id)).mappings()]

    @contextmanager
    def _changing(self) -> Iterator[sql.Connection]:
        """Begin a transaction in which no other one changes keys."""
        with self._engine.execution_options(writes=True).begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                connection.exec_driver_sql("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
            yield connection


def hash_of_key(key: bytes) -> str:
    """Return what the store has of a key."""
    return hashlib.sha256(key).hexdigest()


def _active(connection: sql.Connection, name: str) -> Key | None:
    query = keys.select().where(keys.c.name == name, keys.c.revoked_at.is_(None))
    row = connection.execute(query).mappings().one_or_none()
    return Key(**row) if row else None


def _make(connection: sql.Connection, name: str, role: Role, per_minute: int | None) -> tuple[Key, str]:
    secret = f"sayso-{secrets.token_urlsafe(32)}"
    row = {"name": name, "hash": hash_of_key(secret.encode()), "role": role, "per_minute": per_minute}
    row |= {"created_at": now(), "revoked_at": None}
    made = connection.execute(keys.insert().values(row).returning(keys)).mappings().one()
    return Key(**made), secret


def _revoke(connection: sql.Connection, name: str) -> Key:
    found = _active(connection, name)
    if found is None:
        known = list(connection.scalars(sql.select(keys.c.name).where(keys.c.revoked_at.is_(None))))
        raise UserError(
            f"There is no key '{name[:100]}'; 'sayso keys list' shows those there are.{nearest(name, known)}"
        )
    update = keys.update().where(keys.c.id == found.id).values(revoked_at=now())
    return Key(**connection.execute(update.returning(keys)).mappings().one())
