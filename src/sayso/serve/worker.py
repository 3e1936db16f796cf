"""One thread that speaks, and the queue before it.

A job enters as a function that makes an iterator; its items leave as an asynchronous stream. There is one model, so
one job runs at a time, first come first served; the event loop never waits for it. A listener that goes away ends its
job at the next item, or takes it out of the queue.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class QueueFullError(Exception):
    """Too many jobs are waiting."""


@dataclass(eq=False)
class Job(Generic[Item]):
    """A job on its way: what makes its items, where they go, and whether anyone still listens."""

    make: Callable[[], Generator[Item]]
    loop: asyncio.AbstractEventLoop
    items: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    stopped: threading.Event = field(default_factory=threading.Event)

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield the items as they come; an error in the job is raised here."""
        while True:
            kind, value = await self.items.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def put(self, kind: str, value: Any = None) -> None:
        """Hand one item to the event loop; when the loop is closed nobody listens."""
        try:
            self.loop.call_soon_threadsafe(self.items.put_nowait, (kind, value))
        except RuntimeError:
            self.stopped.set()


class Worker:
    """The thread and its queue of at most `limit` waiting jobs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Job[Any]] = deque()
        self.running: Job[Any] | None = None
        self.changed = threading.Condition()
        self.closed = False
        self.thread: threading.Thread | None = None

    def submit(self, make: Callable[[], Generator[Item]]) -> Job[Item]:
        """Queue a job from within the event loop. Raises `QueueFullError` when `limit` jobs wait already."""
        job = Job(make, asyncio.get_running_loop())
        with self.changed:
            if len(self.waiting) >= self.limit:
                raise QueueFullError
            self.waiting.append(job)
            self.changed.notify()
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="sayso-worker", daemon=True)
                self.thread.start()
        return job

    def stop(self, job: Job[Any]) -> None:
        """End a job: a running one at its next item, a waiting one at once. Its stream just ends."""
        with self.changed:
            job.stopped.set()
            if job in self.waiting:
                self.waiting.remove(job)
                job.put("end")

    def is_waiting(self, job: Job[Any]) -> bool:
        """Whether a job has not begun."""
        with self.changed:
            return job in self.waiting

    def close(self) -> None:
        """Stop every job, and wait for the thread to end."""
        with self.changed:
            self.closed = True
            jobs = [*self.waiting, *([self.running] if self.running else [])]
            self.changed.notify()
        for job in jobs:
            self.stop(job)
        if self.thread is not None:
            self.thread.join()

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closed)
                if not self.waiting:
                    return
                self.running = self.waiting.popleft()
            _run(self.running)
            self.running = None


def _run(job: Job[Any]) -> None:
    try:
        if not job.stopped.is_set():
            with closing(job.make()) as items:
                for item in items:
                    job.put("item", item)
                    if job.stopped.is_set():
                        break
        job.put("end")
    except Exception as error:  # whatever went wrong is told to the one who asked, and the next job runs
        job.put("error", error)
