"""GET /api/changes: server-sent events that name what changed, so that an open page can read it again.

Takes marks, functions from nothing to a value per topic; a topic has changed when its value is another one. All readers
share one look at the marks per second, and without readers nobody looks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from sayso.feedback.database import StoreError
from sayso.serve.stream import event

PERIOD = 1.0  # seconds between looks
SILENCE = 15.0  # seconds after which a comment is sent, so that a proxy keeps the connection, and a lost one is noticed
Marks = Callable[[], Mapping[str, Any]]


class Changes:
    """The topics that have changed since a reader last heard of them."""

    def __init__(self, marks: Marks, closing: Callable[[], bool]) -> None:
        """`closing`: whether the server is shutting down, which ends every stream."""
        self.marks, self.closing = marks, closing
        self._held: Mapping[str, Any] = {}
        self._at = float("-inf")
        self._lock = asyncio.Lock()

    async def look(self) -> Mapping[str, Any]:
        """Return the marks, at most a period old; the last known ones while the store fails."""
        async with self._lock:
            if time.monotonic() - self._at >= PERIOD:
                with suppress(StoreError):
                    self._held = await run_in_threadpool(self.marks)
                self._at = time.monotonic()
            return self._held

    async def events(self) -> AsyncIterator[str]:
        """Yield an event `changed` with the sorted topics whenever there are some; the first one is empty."""
        known, said = await self.look(), time.monotonic()
        yield event([], "changed")
        while not self.closing():
            await asyncio.sleep(PERIOD / 4)
            seen = await self.look()
            topics = sorted(topic for topic in {*seen, *known} if seen.get(topic) != known.get(topic))
            known = seen
            if topics:
                yield event(topics, "changed")
            elif time.monotonic() - said > SILENCE:
                yield ": nothing changed\n\n"
            else:
                continue
            said = time.monotonic()


def change_routes(changes: Changes) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api")

    @router.get("/changes")
    async def stream() -> StreamingResponse:
        return StreamingResponse(changes.events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    return router
