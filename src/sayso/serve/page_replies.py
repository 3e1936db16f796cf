"""The running replies of the page: each is collected, streamed to its reader, and stored.

A reply is stored when it ends, is stopped or cut off, or its reader has gone, and as soon as the store can take it, so
that it is never lost. Who makes it, a served model or a remote one, is a `Speech`.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.database import StoreError
from sayso.feedback.generations import Generations
from sayso.feedback.store import Generation, Store, StoredMessage
from sayso.feedback.traces import Trace
from sayso.reply.calls import Delta
from sayso.reply.parser import ReplyParser
from sayso.reply.reasoning import with_marker
from sayso.serve.errors import ApiError, failure
from sayso.serve.stream import event
from sayso.serve.turns import turns_of
from sayso.serve.worker import ClosingError
from sayso.token.reasoning import Reasoning

_log = logging.getLogger(__name__)
PATIENCE = 3.0  # seconds between attempts to write to the store


class Speech(Protocol):
    """A reply in the making: iterating yields its text piece by piece."""

    model: str
    """The name under which the reply is stored."""

    @property
    def asked(self) -> float:
        """When it was asked for, by `time.perf_counter`."""

    @property
    def prompt_tokens(self) -> int | None:
        """Number of tokens of the prompt; None if it is not known yet."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    def stop(self) -> None:
        """End the reply; without effect on one that has ended."""

    def generation(self, seconds: float) -> Generation | None:
        """Return how the reply was generated; None if it has not begun."""

    def trace(self) -> Trace:
        """Return who asked, and which tokens are known."""


@dataclass(eq=False)
class ReplyInProgress:
    """A running reply, under the name by which it can be stopped, and the events for its reader."""

    speech: Speech
    message_id: int
    prompt: list[dict[str, str]]
    left_out: int = 0
    """How many of the prompt's first turns did not fit in the context."""
    reasoning: Reasoning = "none"
    """Whether the reply begins with reasoning."""
    stored: Callable[[StoredMessage], None] = lambda _message: None
    """Called with the stored reply."""
    compared: bool = False
    """Whether it is shown beside replies of other models."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    events: asyncio.Queue[str | StoredMessage | Exception | None] = field(default_factory=asyncio.Queue)
    """Pieces of text, then the stored message (None if empty) or the error."""


class PageReplies:
    """The running replies. Each is consumed by a task of its own, which stores it even without a reader."""

    def __init__(self, store: Store, facts: Callable[[], Mapping[str, Any]]) -> None:
        """`facts` are what the page shows of the current model."""
        self.store, self.facts = store, facts
        self.running: dict[str, ReplyInProgress] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def begin(self, running: ReplyInProgress) -> None:
        """Start to consume a reply."""
        self.running[running.name] = running
        task = asyncio.create_task(self._collect(running))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def halt(self, name: str) -> None:
        """Stop a reply at its reader's request: its text so far is stored and shown."""
        if (running := self.running.get(name)) is not None:
            running.speech.stop()

    async def close(self) -> None:
        """Wait until all text is stored; no reply may be running any more."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def events(self, running: ReplyInProgress) -> AsyncIterator[str]:
        """Yield `start`, a `thought` or `piece` for each bit of text, then `done` or `error`.

        `done` has the turn, null without text, and the current model, which may have changed since the page was opened.
        """
        speech = running.speech
        start = {"generation": running.name, "left_out": running.left_out, "model": speech.model}
        yield event(start | {"prompt_tokens": speech.prompt_tokens}, "start")
        parser = ReplyParser(reasoning=running.reasoning)
        while isinstance(last := await running.events.get(), str):
            for bit in _bits(parser.push(last)):
                yield bit
        for bit in _bits(parser.close()):
            yield bit
        try:
            if isinstance(last, Exception):
                raise last
            turns = await run_in_threadpool(turns_of, self.store, [last] if last else [])
            yield event({"turn": turns[0] if turns else None, "model": self.facts()}, "done")
        except Exception as error:  # the status is sent already: the stream itself must report it
            yield event(failure(error), "error")
            if not isinstance(error, UserError | ClosingError | ApiError):  # raising breaks off the stream
                raise

    async def _collect(self, running: ReplyInProgress) -> None:
        """Forward the text, and store it, even if the reply breaks off."""
        pieces: list[str] = []
        problem = None
        try:
            try:
                async for text in running.speech:
                    pieces.append(text)
                    if text:
                        running.events.put_nowait(text)
            except Exception as error:  # whatever it was, it is reported to the reader
                problem = error
            stored = await self._store_patiently(running, "".join(pieces), time.perf_counter() - running.speech.asked)
            running.events.put_nowait(problem or stored)
            if stored is not None:
                running.stored(stored)
        except Exception as error:
            running.events.put_nowait(error)
        finally:
            del self.running[running.name]

    async def _store_patiently(self, running: ReplyInProgress, text: str, seconds: float) -> StoredMessage | None:
        """Store a reply. While the store fails, report it to the reader and retry until the server shuts down."""
        reported = False
        while True:
            try:
                return await run_in_threadpool(self._store, running, text, seconds, reported)
            except StoreError as error:
                if not reported:
                    _log.warning("A reply is held in memory until it can be stored. %s", error)
                    running.events.put_nowait(error)
                    reported = True
                if self._closing.is_set():
                    _log.error("The reply to message %d was not stored. Its text: %s", running.message_id, text)
                    raise
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), PATIENCE)

    def _store(self, running: ReplyInProgress, text: str, seconds: float, again: bool) -> StoredMessage | None:
        """Store a reply, unless it was stopped, abandoned or cut off before its first piece.

        `again`: an earlier attempt failed, which may have stored it nevertheless.
        """
        made = running.speech.generation(seconds)
        if made is None or (made.finish == "stopped" and not text):
            return None
        trace = running.speech.trace()
        if again and (known := Generations(self.store).find(made, trace)) is not None:
            return self.store.message(known)
        content = with_marker(text, running.reasoning)
        given = (running.message_id, content, running.prompt, made, running.left_out, trace)
        return self.store.reply(*given, compared=running.compared)


def _bits(deltas: Sequence[Delta]) -> Iterator[str]:
    for delta in deltas:
        yield event({"text": delta.reasoning or delta.content}, "thought" if delta.reasoning else "piece")
