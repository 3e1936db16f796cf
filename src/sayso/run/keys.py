"""Acts: add, list, revoke and replace the keys of a life's store, which its servers admit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from sayso.base.errors import require
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.output import console
from sayso.base.ranges import Options, Positive

if TYPE_CHECKING:
    from sayso.feedback.keys import Key, Keys


@dataclass(frozen=True)
class AddKey(Options):
    """Options of `sayso keys add`."""

    name: str
    """Whose key it is."""
    _: KW_ONLY
    role: Literal["user", "rater", "admin"] = "user"
    """user = the API; rater = also the page with all its conversations and ratings; admin = also changing adapters."""
    per_minute: Positive | None = None
    """Most requests per minute to each server. Default: no limit."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the keys, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class ListKeys(Options):
    """Options of `sayso keys list`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the keys, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class RevokeKey(Options):
    """Options of `sayso keys revoke`."""

    name: str
    """Whose key is to be revoked."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the keys, a path or an address. Default: that of the life."""


@dataclass(frozen=True)
class RotateKey(Options):
    """Options of `sayso keys rotate`."""

    name: str
    """Whose key is to be replaced by a new one."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database of the keys, a path or an address. Default: that of the life."""


def add(options: AddKey) -> dict[str, Any]:
    """Make a key for the servers of this store, and show it once."""
    with _keys(options.life, options.store) as keys:
        return _shown(*keys.add(options.name, options.role, options.per_minute))


def list_keys(options: ListKeys) -> list[dict[str, Any]]:
    """Show who has a key, without the keys."""
    with _keys(options.life, options.store) as keys:
        found = keys.every()
    if not found:
        say("There are no keys yet; make one with 'sayso keys add NAME'.")
    else:
        table = Table("name", "role", "per minute", "since (UTC)", "revoked (UTC)")
        for key in found:
            limit = "" if key.per_minute is None else str(key.per_minute)
            table.add_row(key.name, key.role, limit, key.created_at[:19], (key.revoked_at or "")[:19])
        console().print(table)
    return [_facts(key) for key in found]


def revoke(options: RevokeKey) -> dict[str, Any]:
    """Revoke a key: running servers refuse it within a second."""
    with _keys(options.life, options.store) as keys:
        key = keys.revoke(options.name)
    say(f"The key of '{key.name}' is revoked; running servers refuse it within a second.")
    return _facts(key)


def rotate(options: RotateKey) -> dict[str, Any]:
    """Replace a key by a new one with the same role and limit, and show that once."""
    with _keys(options.life, options.store) as keys:
        return _shown(*keys.rotate(options.name))


def has_keys(life: Path, where: str | None) -> bool:
    """Whether the store has a key that admits somebody."""
    if where is None and not Life(life).store.exists():
        return False
    with _keys(life, where) as keys:
        return any(key.revoked_at is None for key in keys.every())


def _shown(key: "Key", secret: str) -> dict[str, Any]:
    say(f"The key of '{key.name}' ({key.role}), which is shown only once:")
    say(secret)
    return _facts(key) | {"key": secret}


def _facts(key: "Key") -> dict[str, Any]:
    return {name: getattr(key, name) for name in ("name", "role", "per_minute", "created_at", "revoked_at")}


@contextmanager
def _keys(life: Path, where: str | None) -> "Iterator[Keys]":
    require("sqlalchemy", "serve")
    from sayso.feedback.keys import Keys
    from sayso.feedback.store import Store

    store = Store(where or Life(life).store)
    try:
        yield Keys(store)
    finally:
        store.close()
