"""Answers that take time: waiting for a job while its asker may leave, and server-sent events.

Whether the answer is one object or a stream, an asker that goes away stops the job.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sayso.serve.errors import ApiError
from sayso.serve.worker import Job, QueueFullError, Worker

Item = TypeVar("Item")


def submit(worker: Worker, make: Callable[[], Generator[Item]]) -> Job[Item]:
    """Queue a job, or raise `ApiError` 429 when the queue is full."""
    try:
        return worker.submit(make)
    except QueueFullError as full:
        text = f"The model is busy and {worker.limit} requests wait already; try again in a few seconds."
        raise ApiError(429, text, "queue_full") from full


async def collect(worker: Worker, job: Job[Item], request: Request) -> list[Item]:
    """Wait for all items of a job; when the asker leaves first, the job is stopped."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        worker.stop(job)

    watcher = asyncio.create_task(watch())
    try:
        items = [item async for item in job]
    finally:
        watcher.cancel()
        worker.stop(job)
    return items


def event(data: Any, name: str | None = None) -> str:
    """Return one server-sent event with JSON data."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


class EventStream(StreamingResponse):
    """Server-sent events that come from a job; the job is stopped when the stream ends for whatever reason."""

    def __init__(self, events: AsyncIterator[str], worker: Worker, job: Job[Any]) -> None:
        super().__init__(self._all(events), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self.worker, self.job = worker, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.worker.stop(self.job)

    async def _all(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        if self.worker.is_waiting(self.job):  # a comment, so that the status is on its way while the model is busy
            yield ": waiting for the model\n\n"
        async for one in events:
            yield one
