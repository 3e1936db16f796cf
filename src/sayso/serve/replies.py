"""The page's routes for replies: the model, streaming a reply, and stopping it.

Takes a message's number; streams pieces of text, then the stored turn, as server-sent events. A reply is stored
when it ends, is stopped or cut off, or its reader has gone, and as soon as the store can take it, so that it is
never lost.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.database import StoreError
from sayso.feedback.generations import Generations
from sayso.feedback.store import Generation, Store, StoredMessage
from sayso.reply.calls import Delta
from sayso.reply.parser import ReplyParser
from sayso.reply.reasoning import with_marker
from sayso.sample.sampling import Sampling, seeded
from sayso.sample.settings import SamplingSettings
from sayso.serve.choice import ChoicePiece
from sayso.serve.errors import failure
from sayso.serve.recording import Asker, asker_of, trace_of
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.setting_fields import page_controls, settings_of, with_settings
from sayso.serve.shadow import ShownReply
from sayso.serve.stream import EventStream, event
from sayso.serve.terms import Reader, ReplyTerms, check_least
from sayso.serve.turns import TEXT_LIMIT, Body, RowId, turns_of
from sayso.serve.worker import ClosingError, EngineJob
from sayso.token.reasoning import Reasoning, reasoning_of

_log = logging.getLogger(__name__)
PATIENCE = 3.0  # seconds between attempts to write to the store


@with_settings()
class ReplyBody(Body):
    """POST /api/replies: a reply to a message; a repeated request gives another one."""

    message_id: RowId
    system: Annotated[str, Field(max_length=TEXT_LIMIT)] | None = None
    """System message before the conversation."""
    model: Annotated[str, Field(max_length=200)] | None = None
    """A served model; default: the one whose turn it is."""
    compared: bool = False
    """Whether it is shown beside replies of other models, so that asking for it says nothing about these."""

    def sampling(self, reader: Reader) -> Sampling:
        """Return the settings over the defaults, with a seed, so that the reply can be reproduced."""
        settings = settings_of(self)
        check_least(settings.get("min_tokens", 0), settings.get("max_tokens", SamplingSettings.max_tokens))
        return seeded(Sampling(**settings, dry_breakers=reader.breakers() if settings.get("dry_multiplier") else ()))


class Halt(Body):
    """POST /api/stop: stop a running reply."""

    generation: str


@dataclass(eq=False)
class ReplyInProgress:
    """A running reply, under the name by which it can be stopped, and the events for its reader."""

    served: ServedModel
    job: EngineJob
    message_id: int
    prompt: list[dict[str, str]]
    left_out: int
    """How many of the prompt's first turns did not fit in the context."""
    sampling: Sampling
    asker: Asker
    model: str
    """The name under which the reply is stored."""
    reasoning: Reasoning = "none"
    """Whether the reply begins with reasoning."""
    compared: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    events: asyncio.Queue[ChoicePiece | StoredMessage | Exception | None] = field(default_factory=asyncio.Queue)
    """Pieces, then the stored message (None if empty) or the error."""


class PageReplies:
    """The running replies. Each is consumed by a task of its own, which stores it even without a reader."""

    def __init__(self, models: ServedModels, store: Store) -> None:
        self.models, self.store = models, store
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
        running = self.running.get(name)
        if running is not None:
            running.served.worker.stop(running.job)

    async def close(self) -> None:
        """Wait until all text is stored; no reply may be running any more."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _collect(self, running: ReplyInProgress) -> None:
        """Forward the text, and store it, even if the reply breaks off."""
        pieces: list[ChoicePiece] = []
        started, problem = time.perf_counter(), None
        try:
            try:
                async for piece in running.job:
                    pieces.append(piece)
                    if piece.text:
                        running.events.put_nowait(piece)
            except Exception as error:  # whatever it was, it is reported to the reader
                problem = error
            stored = await self._store_patiently(running, pieces, time.perf_counter() - started)
            running.events.put_nowait(problem or stored)
            if stored is not None and self.models.shadow is not None:
                self.models.shadow.follow(
                    ShownReply(stored.id, stored.conversation_id, running.prompt, running.sampling, running.served.name)
                )
        except Exception as error:
            running.events.put_nowait(error)
        finally:
            del self.running[running.name]

    async def _store_patiently(
        self, running: ReplyInProgress, pieces: list[ChoicePiece], seconds: float
    ) -> StoredMessage | None:
        """Store a reply. While the store fails, report it to the reader and retry until the server shuts down."""
        reported = False
        while True:
            try:
                return await run_in_threadpool(self._store, running, pieces, seconds, reported)
            except StoreError as error:
                if not reported:
                    _log.warning("A reply is held in memory until it can be stored. %s", error)
                    running.events.put_nowait(error)
                    reported = True
                if self._closing.is_set():
                    text = "".join(piece.text for piece in pieces)
                    _log.error("The reply to message %d was not stored. Its text: %s", running.message_id, text)
                    raise
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), PATIENCE)

    def _store(
        self, running: ReplyInProgress, pieces: list[ChoicePiece], seconds: float, again: bool
    ) -> StoredMessage | None:
        """Store a reply, unless it was stopped, abandoned or cut off before its first piece.

        `again`: an earlier attempt failed, which may have stored it nevertheless.
        """
        text = with_marker("".join(piece.text for piece in pieces), running.reasoning)
        end = pieces[-1] if pieces else None
        finish = end.finish if end and end.finish in ("stop", "length") else "stopped"
        if end is None or (finish == "stopped" and not text):
            return None
        made = Generation(
            running.model,
            running.served.fingerprint,
            asdict(running.sampling),
            finish,
            len(running.job.choices[0].request.prompt),
            end.tokens,
            seconds,
        )
        trace = trace_of(running.job.choices[0], running.asker, running.served.template)
        if again and (known := Generations(self.store).find(made, trace)) is not None:
            return self.store.message(known)
        given = (running.message_id, text, running.prompt, made, running.left_out, trace)
        return self.store.reply(*given, compared=running.compared)


def reply_routes(replies: PageReplies) -> APIRouter:
    """Return the routes for the replies of the served models."""
    router = APIRouter(prefix="/api")
    models, store = replies.models, replies.store

    @router.get("/model")
    def model() -> dict[str, Any]:
        facts = facts_of(models.pick())
        names = dict.fromkeys(name for one in models.every for name in (one.name, *one.adapters))
        return (
            facts
            | {"models": list(names)}
            | {"settings": page_controls(facts["context"]), "ratings": store.count_ratings()}
        )

    @router.post("/replies")
    async def reply(wanted: ReplyBody, request: Request) -> Response:
        message = await run_in_threadpool(store.message, wanted.message_id)
        conversation = str(message.conversation_id)
        served = models.pick_by(conversation) if models.leaves_open(wanted.model) else models.pick(wanted.model)
        adapter = served.adapter(wanted.model)
        turns = await run_in_threadpool(store.prompt, wanted.message_id)
        if wanted.system and wanted.system.strip():
            turns = [{"role": "system", "content": wanted.system}, *turns]
        sampling = await run_in_threadpool(wanted.sampling, served.reader)
        prompt, left_out = await run_in_threadpool(served.fit, turns, sampling.max_tokens)
        ids = await run_in_threadpool(served.chat_ids, prompt)
        reasoning = reasoning_of(served.replier.tokenizer, ids)
        name = adapter or served.name
        asker = await asker_of(request, name)
        terms = ReplyTerms(sampling, served.replier.stop_ids, reasoning=reasoning, adapter=adapter)
        job = await served.speak([ids], terms)
        running = ReplyInProgress(
            served, job, wanted.message_id, turns, left_out, sampling, asker, name, reasoning, wanted.compared
        )
        replies.begin(running)
        return EventStream(_events(replies, running), served.worker, job)

    @router.post("/stop", status_code=204)
    async def stop(halt: Halt) -> None:
        replies.halt(halt.generation)

    return router


def facts_of(served: ServedModel) -> dict[str, Any]:
    """Return what the page shows of a model."""
    return {"name": served.name, "fingerprint": served.fingerprint, "context": served.context}


async def _events(replies: PageReplies, running: ReplyInProgress) -> AsyncIterator[str]:
    """Yield `start`, a `thought` or `piece` for each bit of text, then `done` or `error`.

    `done` has the turn, null without text, and the current model, which may have changed since the page was opened.
    """
    size = len(running.job.choices[0].request.prompt)
    start = {"generation": running.name, "left_out": running.left_out, "model": running.model, "prompt_tokens": size}
    yield event(start, "start")
    parser = ReplyParser(reasoning=running.reasoning)
    while isinstance(piece := await running.events.get(), ChoicePiece):
        for bit in _bits(parser.push(piece.text)):
            yield bit
    for bit in _bits(parser.close()):
        yield bit
    try:
        if isinstance(piece, Exception):
            raise piece
        turns = await run_in_threadpool(turns_of, replies.store, [piece] if piece else [])
        yield event({"turn": turns[0] if turns else None, "model": facts_of(replies.models.pick())}, "done")
    except Exception as error:  # the status is sent already: the stream itself must report it
        yield event(failure(error), "error")
        if not isinstance(error, UserError | ClosingError):
            raise


def _bits(deltas: Sequence[Delta]) -> Iterator[str]:
    for delta in deltas:
        yield event({"text": delta.reasoning or delta.content}, "thought" if delta.reasoning else "piece")
