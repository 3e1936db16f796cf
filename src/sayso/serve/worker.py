"""The engine's thread, and the communication with it.

Jobs, which are requests that belong together, come from the event loop; their output returns to it piece by piece,
all of a step in one call. Only this thread touches the engine, and the event loop never waits for it. An error in a
step ends the affected requests, not the thread.
"""

import asyncio
import atexit
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sayso.sample.engine import Engine
from sayso.sample.request import Request
from sayso.serve.choice import Choice, ChoicePiece
from sayso.serve.metrics import Metrics

_Value = TypeVar("_Value")
Ended = Callable[[Exception | None], None]
ENDED: ContextVar[Ended | None] = ContextVar("ENDED", default=None)
"""What is called, in the event loop, when the job of the request in progress has ended, with its error if it failed."""


class QueueFullError(Exception):
    """As many requests as may wait are waiting for a row."""


class ClosingError(Exception):
    """The server is shutting down and accepts no new requests."""


@dataclass(eq=False)
class EngineJob:
    """Choices of one response, on their way to the consumer in the event loop."""

    choices: list[Choice]
    waits: bool
    """Whether all rows were taken when it arrived."""
    pieces: asyncio.Queue[ChoicePiece | Exception] = field(default_factory=asyncio.Queue)
    left: int = 0
    """How many choices have not finished."""
    begun: bool = False
    """Whether a choice has had a row."""
    stopped: bool = False
    ended: Ended | None = None

    async def __aiter__(self) -> AsyncIterator[ChoicePiece]:
        """Yield the pieces as they come, until every choice has finished; an error in a step is raised here."""
        ended = 0
        while ended < len(self.choices):
            piece = await self.pieces.get()
            if isinstance(piece, Exception):
                raise piece
            ended += bool(piece.finish)
            yield piece


News = list[tuple[EngineJob, ChoicePiece | Exception]]


class Worker:
    """The engine's thread. At most `limit` jobs wait for their first row; all methods are for the event loop."""

    def __init__(self, engine: Engine, limit: int, metrics: Metrics | None = None) -> None:
        self.engine, self.limit = engine, limit
        self.metrics = metrics or Metrics(engine, "")
        self.closing = False
        self._orders: deque[Callable[[], None]] = deque()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._closed = self._retired = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Used only by the event loop: jobs and calls that have not finished.
        self._open: set[EngineJob] = set()
        self._called: set[asyncio.Future[Any]] = set()
        self._cut = False
        self._jobs: dict[Request, tuple[EngineJob, Choice]] = {}  # used only by the thread: requests in the engine

    @property
    def load(self) -> int:
        """How many choices and calls have not finished."""
        return sum(job.left for job in list(self._open)) + len(self._called)

    @property
    def surplus(self) -> int:
        """How many jobs and calls there are beyond the free rows; negative while rows are free for more.

        A job needs one row to begin, whatever its number of choices.
        """
        begun = [job for job in self._open if job.begun]
        free = max(self.engine.rows - sum(job.left for job in begun), 0)
        return len(self._open) - len(begun) + len(self._called) - free

    def submit(self, choices: Sequence[Choice]) -> EngineJob:
        """Queue choices. Raises `QueueFullError` if `limit` jobs already wait, `ClosingError` during shutdown."""
        self._check()
        job = EngineJob(list(choices), self.surplus >= 0, left=len(choices), ended=ENDED.get())
        self.metrics.queued(job.choices)
        self._open.add(job)
        self._order(partial(self._add, job))
        return job

    async def call(self, function: Callable[[], _Value]) -> _Value:
        """Run a function with the model between two steps; errors as in `submit`, and the function's own."""
        self._check()
        future: Future[_Value] = Future()
        result = asyncio.wrap_future(future)
        self._called.add(result)
        try:
            with self._changed:
                self._calls.append((future, function))
            self._order()
            return await result
        except asyncio.CancelledError:
            if self._cut:
                raise ClosingError from None
            raise
        finally:
            self._called.discard(result)

    def stop(self, job: EngineJob) -> None:
        """Stop the unfinished part of a job: its rows are free at the next step."""
        if job.left and not job.stopped:
            job.stopped = True
            self._order(partial(self._cancel, job))

    def drain(self, grace: float | None = None) -> None:
        """Accept no new jobs; running ones continue, and are cut off after `grace` seconds if given."""
        self.closing = True
        if grace is not None:
            asyncio.get_running_loop().call_later(grace, self.cut)

    def cut(self) -> None:
        """Stop every job and call with `ClosingError`, even during a long step."""
        self._cut = True
        for result in self._called:
            result.cancel()
        for job in list(self._open):
            job.pieces.put_nowait(ClosingError())
            self.stop(job)

    def retire(self) -> None:
        """End the thread once every job has ended; there are no new ones. For any thread."""
        with self._changed:
            self._retired = True
            self._changed.notify()

    def close(self) -> None:
        """Stop every job, and wait for the thread to end."""
        self.closing = True
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def _ends(self) -> bool:
        return self._closed or self._retired

    def _check(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.closing:
            raise ClosingError
        if self.surplus >= self.limit:
            self.metrics.rejected()
            raise QueueFullError

    def _order(self, *orders: Callable[[], None]) -> None:
        with self._changed:
            self._orders.extend(orders)
            self._changed.notify()
        if self._thread is None:
            # A daemon, so that a program without `close` can exit; joined at exit, because an interpreter that exits
            # during a step crashes the process.
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._work, name="sayso-engine", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._orders or self._calls or self._ends or not self.engine.idle)
                orders, self._orders = self._orders, deque()
                call = self._calls.popleft() if self._calls else None
            for order in orders:
                order()
            if self._closed or (self._retired and call is None and self.engine.idle):
                break
            if call is not None:
                _run(*call)
            if not self.engine.idle:
                self._step()
        atexit.unregister(self.close)  # which would keep the engine in memory
        for job in {job for job, _ in self._jobs.values()}:
            self._cancel(job)
        for future, _ in [*([call] if call else []), *self._calls]:
            if future.set_running_or_notify_cancel():
                future.set_exception(ClosingError())

    def _add(self, job: EngineJob) -> None:
        try:
            for place, choice in enumerate(job.choices):
                self.engine.add(choice.request, place)
                self._jobs[choice.request] = job, choice
        except Exception as error:
            self._fail([job], error)

    def _cancel(self, job: EngineJob) -> None:
        requests = [choice.request for choice in job.choices if choice.request in self._jobs]
        for request in requests:
            self.engine.cancel(request)
        self._publish(requests)

    def _step(self) -> None:
        started, before = time.perf_counter(), self.engine.counts.step_tokens
        try:
            advanced = self.engine.step()
        except Exception as error:
            # The rows are affected; without any, the waiting requests must fail, or the error would repeat forever.
            waiting = set(self.engine.waiting)
            affected = {job for request, (job, _) in self._jobs.items() if request not in waiting}
            self._fail(affected or {job for job, _ in self._jobs.values()}, error)
        else:
            self.metrics.stepped(self.engine.counts.step_tokens - before)
            for request in [*advanced, *(row.request for row in self.engine.running)]:
                job, choice = self._jobs[request]
                job.begun = True
                if choice.began is None:
                    self.metrics.began(choice, started)
            self._publish(advanced)

    def _publish(self, requests: Sequence[Request]) -> None:
        """Pass output to the event loop."""
        news, now = News(), time.perf_counter()
        for request in requests:
            if request not in self._jobs:  # its job failed with another request
                continue
            job, choice = self._jobs[request]
            self.metrics.progressed(choice, now)
            if (error := choice.error) is not None:
                self._fail([job], error)
                continue
            if request.finish:
                del self._jobs[request]
                if not any(choice.request in self._jobs for choice in job.choices):
                    self.metrics.answered(job.choices)
            piece = choice.take()
            if piece is not None:
                news.append((job, piece))
        self._send(news)

    def _fail(self, jobs: Collection[EngineJob], error: Exception) -> None:
        for job in jobs:
            for choice in job.choices:
                self.engine.cancel(choice.request)
                self._jobs.pop(choice.request, None)
        self._send([(job, error) for job in jobs])

    def _send(self, news: News) -> None:
        if news and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is waiting
                self._loop.call_soon_threadsafe(self._deliver, news)

    def _deliver(self, news: News) -> None:
        """In the event loop: deliver output to its consumers."""
        for job, piece in news:
            error = piece if isinstance(piece, Exception) else None
            finished = job.left if isinstance(piece, Exception) else bool(piece.finish)
            job.left -= finished
            if not job.left:
                self._open.discard(job)
            job.pieces.put_nowait(piece)
            if not isinstance(piece, Exception) and piece.finish:
                choice = job.choices[piece.index]
                if choice.ended is not None:
                    choice.ended(choice)
            if finished and not job.left and job.ended is not None:
                job.ended(error)


def _run(future: "Future[Any]", function: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)
