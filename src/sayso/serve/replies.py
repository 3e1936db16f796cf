"""The page's routes for replies: the model, streaming a reply, and stopping it.

Takes a message's number; streams pieces of text, then the stored turn, as server-sent events. A reply is stored
when it ends, is stopped or cut off, or its reader has gone, and as soon as the store can take it, so that it is
never lost.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.schema import StoreError
from sayso.feedback.store import Generation, Store, StoredMessage
from sayso.sample.sampling import Sampling, seeded
from sayso.serve.choice import ChoicePiece
from sayso.serve.errors import failure
from sayso.serve.served_model import ServedModel
from sayso.serve.setting_fields import page_controls, settings_of, with_settings
from sayso.serve.stream import EventStream, event
from sayso.serve.terms import Reader, ReplyTerms
from sayso.serve.turns import Body, RowId, turns_of
from sayso.serve.worker import ClosingError, EngineJob

_log = logging.getLogger(__name__)
PATIENCE = 3.0  # seconds between attempts to write to the store


@with_settings()
class ReplyBody(Body):
    """POST /api/replies: a reply to a message; a repeated request gives another one."""

    message_id: RowId

    def sampling(self, reader: Reader) -> Sampling:
        """Return the settings over the defaults, with a seed, so that the reply can be reproduced."""
        settings = settings_of(self)
        return seeded(Sampling(**settings, dry_breakers=reader.breakers() if settings.get("dry_multiplier") else ()))


class Halt(Body):
    """POST /api/stop: stop a running reply."""

    generation: str


@dataclass(eq=False)
class ReplyInProgress:
    """A running reply, under the name by which it can be stopped, and the events for its reader."""

    job: EngineJob
    message_id: int
    prompt: list[dict[str, str]]
    left_out: int
    """How many of the prompt's first turns did not fit in the context."""
    sampling: Sampling
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    news: asyncio.Queue[ChoicePiece | StoredMessage | Exception | None] = field(default_factory=asyncio.Queue)
    """Pieces, then the stored message (None if empty) or the error."""


class PageReplies:
    """The running replies. Each is consumed by a task of its own, which stores it even without a reader."""

    def __init__(self, voice: ServedModel, store: Store) -> None:
        self.voice, self.store = voice, store
        self.speaking: dict[str, ReplyInProgress] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def begin(self, spoken: ReplyInProgress) -> None:
        """Start to consume a reply."""
        self.speaking[spoken.name] = spoken
        task = asyncio.create_task(self._hear(spoken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def halt(self, name: str) -> None:
        """Stop a reply at its reader's request: its text so far is stored and shown."""
        spoken = self.speaking.get(name)
        if spoken is not None:
            self.voice.worker.stop(spoken.job)

    async def close(self) -> None:
        """Wait until all text is stored; no reply may be running any more."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self, spoken: ReplyInProgress) -> None:
        """Forward the text, and store it, even if the reply breaks off."""
        said: list[ChoicePiece] = []
        started, trouble = time.perf_counter(), None
        try:
            try:
                async for piece in spoken.job:
                    said.append(piece)
                    if piece.text:
                        spoken.news.put_nowait(piece)
            except Exception as error:  # whatever it was, it is reported to the reader
                trouble = error
            kept = await self._kept(spoken, said, time.perf_counter() - started)
            spoken.news.put_nowait(trouble or kept)
        except Exception as error:
            spoken.news.put_nowait(error)
        finally:
            del self.speaking[spoken.name]

    async def _kept(self, spoken: ReplyInProgress, said: list[ChoicePiece], seconds: float) -> StoredMessage | None:
        """Store a reply. While the store fails, report it to the reader and retry until the server shuts down."""
        told = False
        while True:
            try:
                return await run_in_threadpool(self._keep, spoken, said, seconds)
            except StoreError as error:
                if not told:
                    _log.warning("A reply is held in memory until it can be stored. %s", error)
                    spoken.news.put_nowait(error)
                    told = True
                if self._closing.is_set():
                    text = "".join(piece.text for piece in said)
                    _log.error("The reply to message %d was not stored. Its text: %s", spoken.message_id, text)
                    raise
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), PATIENCE)

    def _keep(self, spoken: ReplyInProgress, said: list[ChoicePiece], seconds: float) -> StoredMessage | None:
        """Store a reply, unless it was stopped, abandoned or cut off before its first word."""
        text = "".join(piece.text for piece in said)
        end = said[-1] if said else None
        finish = end.finish if end and end.finish in ("stop", "length") else "stopped"
        if end is None or (finish == "stopped" and not text):
            return None
        made = Generation(
            self.voice.name,
            self.voice.fingerprint,
            asdict(spoken.sampling),
            finish,
            len(spoken.job.choices[0].request.prompt),
            end.tokens,
            seconds,
        )
        return self.store.reply(spoken.message_id, text, spoken.prompt, made, spoken.left_out)


def reply_routes(replies: PageReplies) -> APIRouter:
    """Return the routes for the replies of one served model."""
    router = APIRouter(prefix="/api")
    voice, store = replies.voice, replies.store

    @router.get("/model")
    def model() -> dict[str, Any]:
        facts = {"name": voice.name, "fingerprint": voice.fingerprint, "context": voice.context}
        return facts | {"settings": page_controls(voice.context), "ratings": store.count_ratings()}

    @router.post("/replies")
    async def reply(wanted: ReplyBody) -> Response:
        turns = await run_in_threadpool(store.prompt, wanted.message_id)
        sampling = await run_in_threadpool(wanted.sampling, voice.reader)
        prompt, left_out = await run_in_threadpool(voice.fit, turns, sampling.max_tokens)
        ids = await run_in_threadpool(voice.chat_ids, prompt)
        job = await voice.speak([ids], ReplyTerms(sampling, voice.replier.stop_ids))
        spoken = ReplyInProgress(job, wanted.message_id, turns, left_out, sampling)
        replies.begin(spoken)
        return EventStream(_events(store, spoken), voice.worker, job)

    @router.post("/stop", status_code=204)
    async def stop(halt: Halt) -> None:
        replies.halt(halt.generation)

    return router


async def _events(store: Store, spoken: ReplyInProgress) -> AsyncIterator[str]:
    """Yield `start`, a `piece` for each bit of text, then `done` with the turn (null if empty) or `error`."""
    yield event({"generation": spoken.name, "left_out": spoken.left_out}, "start")
    while isinstance(piece := await spoken.news.get(), ChoicePiece):
        yield event({"text": piece.text}, "piece")
    try:
        if isinstance(piece, Exception):
            raise piece
        turns = await run_in_threadpool(turns_of, store, [piece] if piece else [])
        yield event({"turn": turns[0] if turns else None}, "done")
    except Exception as error:  # the status is sent already: the stream itself must report it
        yield event(failure(error), "error")
        if not isinstance(error, UserError | ClosingError):
            raise
