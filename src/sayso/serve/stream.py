"""Responses that take time: waiting for a job while its client may disconnect, and server-sent events.

Whether the response is one object or a stream, a client that disconnects stops the job.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sayso.serve.choice import ChoicePiece
from sayso.serve.encode import to_json
from sayso.serve.errors import LeftError
from sayso.serve.worker import EngineJob, Worker

_Value = TypeVar("_Value")
# Ends of lines that JSON allows in a string, but at which many line readers split an event.
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


async def unless_left(work: Coroutine[Any, Any, _Value], request: Request) -> _Value:
    """Wait for some work; if the client disconnects first, cancel it and raise `LeftError`."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(watch())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise LeftError
        return working.result()
    finally:
        watching.cancel()
        working.cancel()


async def collect(worker: Worker, job: EngineJob, request: Request) -> list[ChoicePiece]:
    """Wait for all pieces of a job, which is stopped if the client disconnects first."""

    async def listen() -> list[ChoicePiece]:
        return [piece async for piece in job]

    try:
        return await unless_left(listen(), request)
    finally:
        worker.stop(job)


def event(data: Any, name: str | None = None) -> str:
    """Return one server-sent event with JSON data."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {to_json(data).translate(_LINE_ENDS)}\n\n"


class EventStream(StreamingResponse):
    """Server-sent events of a reply; `stop` is called when the stream ends for any reason."""

    def __init__(self, events: AsyncIterator[str], stop: Callable[[], None], *, waits: bool = False) -> None:
        """`waits`: whether the reply has to wait for the model."""
        super().__init__(self._all(events), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self.stop, self.waits = stop, waits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.stop()

    async def _all(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        if self.waits:  # a comment, so that the client gets the status while the model is busy
            yield ": waiting for the model\n\n"
        async for one in events:
            yield one
