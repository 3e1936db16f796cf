"""Counts of the requests to the models, minute by minute: what was asked, refused, failed, and how long it waited.

Every request to a model is counted when its response has ended, whether or not its reply is recorded. The counts are
written once a minute at most, and at the end; without requests nothing is written, and nothing runs.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.traffic import MinuteCounts
from sayso.serve.choice import Choice

_log = logging.getLogger(__name__)
PERIOD = 60.0  # seconds between two writes
HELD = 1_000  # counts in memory while the store fails
Write = Callable[[Sequence[MinuteCounts]], None]


@dataclass
class Progress:
    """What is known of a request in progress."""

    model: str = ""
    """The model that it asks; none yet, or none at all."""
    choices: Sequence[Choice] = ()
    waiting: int = 0
    """How many requests waited for a row when it was queued, with itself."""
    failed: bool = False
    """Whether the server failed after the response had begun."""

    @property
    def waited(self) -> float | None:
        """Seconds until a choice had a row; None if none had one."""
        return min((one.began - one.asked for one in self.choices if one.began is not None), default=None)


PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
"""That of the request which is answered."""


def note_model(name: str) -> None:
    """Note which model the request in progress asks."""
    if (progress := PROGRESS.get()) is not None:
        progress.model = name


def note_queued(choices: Sequence[Choice], waiting: int) -> None:
    """Note that the request in progress was queued."""
    if (progress := PROGRESS.get()) is not None:
        progress.choices, progress.waiting = choices, max(progress.waiting, waiting)


def note_failed() -> None:
    """Note that the server failed on the request in progress."""
    if (progress := PROGRESS.get()) is not None:
        progress.failed = True


class Traffic:
    """The counts of one server; all methods are for the event loop."""

    def __init__(self, write: Write) -> None:
        """`write` stores counts; it is called in a thread."""
        self._write = write
        self._held: dict[tuple[int, str], MinuteCounts] = {}
        self._task: asyncio.Task[None] | None = None

    def count(self, method: str, path: str, status: int, progress: Progress) -> None:
        """Count a request whose response has ended, if it asked a model, or failed to do so."""
        asks = method == "POST" and (path == "/api/replies" or not path.startswith("/api/"))
        if not progress.model and not (asks and status >= 400):
            return
        minute = int(time.time() // 60)
        one = self._held.setdefault((minute, progress.model), MinuteCounts(minute, progress.model))
        one.requests += 1
        if status >= 500 or progress.failed:
            one.failed += 1
        elif status == 429:
            one.rejected += 1
        elif 400 <= status < 499:  # 499: the client has left
            one.invalid += 1
        if (waited := progress.waited) is not None:
            one.begun, one.waited = one.begun + 1, one.waited + waited
        one.waiting = max(one.waiting, progress.waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_later())

    async def close(self) -> None:
        """Write what is held."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._write_held()

    async def _write_later(self) -> None:
        while self._held:
            await asyncio.sleep(PERIOD)
            await self._write_held()

    async def _write_held(self) -> None:
        """Write the counts; if the store fails, they are held until the next time, but for the oldest of too many."""
        held, self._held = self._held, {}
        if not held:
            return
        try:
            await run_in_threadpool(self._write, list(held.values()))
        except UserError as error:
            _log.warning("The counts of requests could not be written. %s", error)
            for key, one in held.items():
                self._held[key] = _sum(one, self._held[key]) if key in self._held else one
            for key in sorted(self._held)[:-HELD]:
                del self._held[key]


def _sum(one: MinuteCounts, other: MinuteCounts) -> MinuteCounts:
    """Return the counts of one minute and model together."""
    names = ("requests", "invalid", "rejected", "failed", "begun", "waited")
    added = {name: getattr(one, name) + getattr(other, name) for name in names}
    return MinuteCounts(one.minute, one.model, **added, waiting=max(one.waiting, other.waiting))
