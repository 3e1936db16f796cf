"""The page's routes for replies: which model speaks, a reply as it is spoken, and stopping it.

A message's number enters; pieces of text, then the turn as it was kept, leave as server-sent events. A reply is kept
in the worker's thread when it ends, is stopped, or its reader has gone, so that what was said is never lost.
"""

import threading
import time
import uuid
from collections.abc import AsyncIterator, Generator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.store import Generation, Message, Store
from sayso.sample.sampling import Sampling, seeded
from sayso.serve.errors import error_body
from sayso.serve.stream import EventStream, event, submit
from sayso.serve.turns import Body, turns_of
from sayso.serve.voice import End, Piece, Voice
from sayso.serve.worker import Job, Worker


class Wanted(Body):
    """POST /api/replies: a reply to a message; asked for again, it is another one."""

    message_id: int
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    def sampling(self) -> Sampling:
        """Return what was set over the defaults, with a seed, so that the reply can be made again."""
        return seeded(Sampling(**self.model_dump(exclude={"message_id"}, exclude_none=True)))


class Halt(Body):
    """POST /api/stop: end a reply that is being spoken."""

    generation: str


@dataclass
class Speaking:
    """A reply on its way, under the name by which it can be stopped."""

    halt: threading.Event = field(default_factory=threading.Event)
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    job: Job[Piece | Message] | None = None


def reply_routes(voice: Voice, worker: Worker, store: Store) -> APIRouter:
    """Return the routes over one voice, its worker and a store."""
    router = APIRouter(prefix="/api")
    speaking: dict[str, Speaking] = {}

    @router.get("/model")
    def model() -> dict[str, Any]:
        facts = {"name": voice.name, "fingerprint": voice.fingerprint, "context": voice.context}
        return facts | {"sampling": asdict(Sampling()), "ratings": store.count_ratings()}

    @router.post("/replies")
    async def reply(wanted: Wanted) -> Response:
        turns = await run_in_threadpool(store.prompt, wanted.message_id)
        sampling, this = wanted.sampling(), Speaking()
        prompt, left_out = await run_in_threadpool(voice.fit, turns, sampling.max_tokens)
        ids = await run_in_threadpool(voice.chat_ids, prompt)

        def make() -> Generator[Piece | Message]:
            return _speak(voice, store, this, wanted.message_id, prompt, ids, sampling)

        this.job = submit(worker, make)
        speaking[this.name] = this
        return EventStream(_events(store, speaking, this, left_out), worker, this.job)

    @router.post("/stop", status_code=204)
    def stop(halt: Halt) -> None:
        this = speaking.get(halt.generation)
        if this is not None and this.job is not None:
            this.halt.set()
            if worker.is_waiting(this.job):
                worker.stop(this.job)

    return router


def _speak(
    voice: Voice,
    store: Store,
    this: Speaking,
    message_id: int,
    prompt: list[dict[str, str]],
    ids: list[int],
    sampling: Sampling,
) -> Generator[Piece | Message]:
    """Speak one reply and keep it; the last item is the message as it was kept."""
    started = time.perf_counter()
    pieces: list[str] = []
    finish, tokens = "stopped", 0

    def keep() -> Message:
        seconds = time.perf_counter() - started
        made = Generation(voice.name, voice.fingerprint, asdict(sampling), finish, len(ids), tokens, seconds)
        return store.reply(message_id, "".join(pieces), prompt, made)

    try:
        for item in voice.speak(ids, sampling):
            tokens = item.tokens
            if isinstance(item, End):
                finish = item.finish
                break
            pieces.append(item.text)
            yield item
            if this.halt.is_set():
                break
    except GeneratorExit:  # the reader has gone
        if pieces:
            keep()
        raise
    yield keep()


async def _events(store: Store, speaking: dict[str, Speaking], this: Speaking, left_out: int) -> AsyncIterator[str]:
    """Yield `start`, a `piece` for each bit of text, then `done` with the turn (null: nothing was said) or `error`."""
    assert this.job is not None
    kept: Message | None = None
    try:
        yield event({"generation": this.name, "left_out": left_out}, "start")
        async for item in this.job:
            if isinstance(item, Piece):
                yield event({"text": item.text}, "piece")
            else:
                kept = item
        turns = await run_in_threadpool(turns_of, store, [kept] if kept else [])
        yield event({"turn": turns[0] if turns else None}, "done")
    except UserError as error:
        yield event(error_body(400, str(error)), "error")
    except Exception:  # the status is sent already: the stream itself must say that it broke
        yield event(error_body(500, "The server failed while it was replying; its log says why."), "error")
        raise
    finally:
        speaking.pop(this.name, None)
