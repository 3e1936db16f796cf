"""The keys that a server admits: those of its options, and those of its store, which are read again once a second.

Takes the keys that a request sends; returns whose key it is, with its role, and how long it must wait for its turn.
"""

import hmac
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from sayso.feedback.database import StoreError
from sayso.feedback.keys import ROLES, Keys, Role, hash_of_key
from sayso.feedback.store import Store

_log = logging.getLogger(__name__)
FRESH = 1.0  # seconds until the store's keys are read again


@dataclass(frozen=True)
class Admitted:
    """Whose key a request has sent."""

    hash: str
    role: Role
    per_minute: int | None = None
    id: int | None = None
    """Its row in the store; None for a key of the server's options."""
    name: str | None = None

    def may(self, role: Role) -> bool:
        """Whether it admits to what needs a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Keyring:
    """The keys of a server. All methods are for the event loop."""

    def __init__(self, store: Store, key: str | None = None, admin_key: str | None = None) -> None:
        """`key` is that of a rater, `admin_key` that of an admin; both have no limit."""
        given: tuple[tuple[str | None, Role], ...] = ((key, "rater"), (admin_key, "admin"))
        self._own = [Admitted(hash_of_key(one.encode()), role) for one, role in given if one is not None]
        self._keys, self._needed = Keys(store), key is not None
        self._limits: dict[str, tuple[float, float]] = {}  # by hash: how many requests are left, and when that was
        self._told = False
        self._at = -math.inf  # when the store's keys were read
        self._read()

    @property
    def closed(self) -> bool:
        """Whether a key is needed: one was given to the server, or the store has one, even if it is revoked."""
        return self._needed or self._stored

    @property
    def has_admin(self) -> bool:
        """Whether anybody is an admin."""
        return any(one.may("admin") for one in (*self._own, *self._admitted))

    async def refresh(self) -> None:
        """Read the store's keys if they were not read within the last second."""
        if time.monotonic() - self._at < FRESH:
            return
        self._at = time.monotonic()  # only one request waits for them
        try:
            await run_in_threadpool(self._read)
            self._told = False
        except StoreError as error:  # those that were read last are still valid
            if not self._told:
                _log.warning("The keys cannot be read again. %s", error)
            self._told = True

    def find(self, given: Iterable[str]) -> Admitted | None:
        """Return whose key is among those that a request sends; None if nobody's is."""
        hashes = [hash_of_key(one.encode("latin-1")) for one in given]
        every = (*self._own, *self._admitted)
        return next((one for one in every if any(hmac.compare_digest(one.hash, other) for other in hashes)), None)

    def wait(self, key: Admitted) -> int:
        """Count a request of a key; return the seconds until its turn, 0 if it is now.

        A key has a supply of its requests per minute, which is refilled evenly (a token bucket).
        """
        if key.per_minute is None:
            return 0
        now, rate = time.monotonic(), key.per_minute / 60
        left, at = self._limits.get(key.hash, (float(key.per_minute), now))
        left = min(key.per_minute, left + (now - at) * rate)
        self._limits[key.hash] = (left - 1 if left >= 1 else left), now
        return 0 if left >= 1 else math.ceil((1 - left) / rate)

    def _read(self) -> None:
        found = self._keys.every()
        self._stored = bool(found)
        self._admitted = [
            Admitted(one.hash, one.role, one.per_minute, one.id, one.name) for one in found if one.revoked_at is None
        ]
        self._at = time.monotonic()
