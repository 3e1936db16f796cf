"""Recording of the API's replies: takes each reply that ends, stores it in the background.

A reply is never delayed and never fails because of its recording: what cannot be stored is retried, then dropped, and
counted in the log. The page's replies are stored by `replies`, with the same traces.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from sayso.feedback.database import StoreError
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.store import Generation, Store
from sayso.feedback.traces import Trace
from sayso.reply.reasoning import with_marker
from sayso.serve.choice import Choice
from sayso.token.reasoning import Reasoning

_log = logging.getLogger(__name__)
Share = Literal["off", "sampled", "all"]
SAMPLED = 10  # with `sampled`, one in this many conversations is recorded
HELD = 1000  # replies in memory that are not stored yet; further ones are dropped
AT_ONCE = 50  # replies per transaction
NAME, ROUTE = 200, 32  # characters of a user's name and of a route that are stored
PATIENCE = 3.0  # seconds between attempts, and to store the rest at the end


@dataclass(frozen=True)
class Asker:
    """Who asked for a reply, and how."""

    route: str
    request: str | None = None
    """Id of the request, as in the response's header."""
    user: str | None = None
    """As the client names its user, or else the name of the API key."""
    key_id: int | None = None
    alias: str | None = None
    """The name by which the model was asked for, if it is not its own."""
    canary: str | None = None
    """What identifies the conversation in the log of a canary, if the request takes part."""


@dataclass(frozen=True)
class Speaker:
    """The model that replies."""

    name: str
    fingerprint: str
    template: str | None
    """Hash of its chat template."""


async def asker_of(request: Request, speaker: str) -> Asker:
    """Return who sent a request to a model."""
    state, body = request.scope.get("state", {}), await request.json()
    user = named_user(body) or key_name(request)
    asked = body.get("model")
    route = request.scope["path"]
    return Asker(
        "page" if route.startswith("/api/") else route[:ROUTE],
        state.get("request_id"),
        user[:NAME] if user else None,
        state.get("key_id"),
        asked if asked != speaker else None,
        state.get("canary"),
    )


def named_user(body: Mapping[str, Any]) -> str | None:
    """Return the user that a client names in one of the fields of the APIs; None if it names none."""
    metadata = body.get("metadata")
    other = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    user: str | None = body.get("user") or body.get("safety_identifier") or other
    return user


def tools_turn(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the turn under which the tools of a conversation are stored; none without tools."""
    return [{"role": "tools", "content": json.dumps(list(tools), ensure_ascii=False)}] if tools else []


def key_name(request: Request) -> str | None:
    """Return the name of the API key of a request; None without one."""
    name: str | None = request.scope.get("state", {}).get("key_name")
    return name


def trace_of(choice: Choice, asker: Asker, template: str | None) -> Trace:
    """Return the trace of a reply that has ended."""
    request = choice.request
    ended = [] if request.ended_by is None else [request.ended_by]
    return Trace(
        route=asker.route,
        request=asker.request,
        key_id=asker.key_id,
        alias=asker.alias,
        canary=asker.canary,
        template=template,
        sample=request.index,
        prompt_ids=list(request.prompt),
        completion_ids=[*request.ids, *ended],
        logprobs=[*request.logprobs, *([request.ended_logprob] if ended else [])],
        first_seconds=None if choice.first is None else choice.first - choice.asked,
    )


@dataclass(frozen=True)
class Expected:
    """A reply that is to be recorded when it ends."""

    speaker: Speaker
    asker: Asker
    turns: Sequence[Mapping[str, Any]]
    reasoning: Reasoning = "none"

    @property
    def key(self) -> str:
        """What identifies its conversation: its user, and its turns up to the user's first."""
        first = next((place for place, turn in enumerate(self.turns) if turn["role"] == "user"), len(self.turns))
        begun = [self.asker.key_id, self.asker.user, list(self.turns[: first + 1])]
        return hashlib.sha256(json.dumps(begun, sort_keys=True).encode()).hexdigest()

    def reply(self, choice: Choice) -> RecordedReply:
        """Return the reply."""
        request = choice.request
        made = Generation(
            self.speaker.name,
            self.speaker.fingerprint,
            asdict(request.sampling),
            request.finish if request.finish in ("stop", "length") else "stopped",
            len(request.prompt),
            len(request.ids),
            time.perf_counter() - choice.asked,
        )
        return RecordedReply(
            conversation=self.key,
            user=self.asker.user,
            prompt=self.turns,
            content=with_marker("".join(choice.shown), self.reasoning),
            generation=made,
            trace=trace_of(choice, self.asker, self.speaker.template),
            free=request.constraint is None,
        )


class Recorder:
    """Stores the replies of some or all conversations of the API; all methods are for the event loop."""

    def __init__(self, store: Store, share: Share) -> None:
        self._generations, self._share = Generations(store), share
        self._held: asyncio.Queue[RecordedReply] = asyncio.Queue(HELD)
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.dropped = 0
        """Number of replies that the store did not take."""
        self.recorded: Callable[[RecordedReply, int], None] | None = None
        """Called with each stored reply and its id."""

    def wants(self, key: str) -> bool:
        """Whether a conversation is recorded: the same for all of its replies, in every process."""
        return self._share == "all" or (self._share == "sampled" and int(key[:8], 16) % SAMPLED == 0)

    def follow(self, choice: Choice, expected: Expected) -> None:
        """Record a reply when it ends, if its conversation is recorded."""
        if self.wants(expected.key):
            choice.ended = partial(self._ended, expected)

    async def close(self) -> None:
        """Store what is held; what the store does not take within a few seconds is dropped."""
        self._closing.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, PATIENCE)
        self._drop(self._held.qsize())

    def _ended(self, expected: Expected, choice: Choice) -> None:
        try:
            self._held.put_nowait(expected.reply(choice))
        except asyncio.QueueFull:
            self._drop(1)
        except Exception:  # whatever it was, the reply itself goes on
            _log.exception("A reply could not be recorded.")
            self._drop(1)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._store_held())

    def _drop(self, count: int) -> None:
        if count:
            self.dropped += count
            _log.warning("Replies that were not recorded so far: %d.", self.dropped)

    async def _store_held(self) -> None:
        while not self._held.empty():
            await self._store([self._held.get_nowait() for _ in range(min(self._held.qsize(), AT_ONCE))])

    async def _store(self, batch: list[RecordedReply]) -> None:
        """Store replies. While the store fails, report it and retry until the server shuts down."""
        reported = False
        while True:
            try:
                stored = await run_in_threadpool(self._record, batch, reported)
                for reply, message in zip(batch, stored, strict=True):
                    if self.recorded is not None:
                        self.recorded(reply, message)
                return
            except StoreError as error:
                if self._closing.is_set():
                    self._drop(len(batch))
                    return
                if not reported:
                    _log.warning("Replies are held in memory until they can be recorded. %s", error)
                    reported = True
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), PATIENCE)
            except Exception:
                if len(batch) == 1:
                    _log.exception("A reply could not be recorded.")
                    self._drop(1)
                else:  # one of them is at fault
                    for reply in batch:
                        await self._store([reply])
                return

    def _record(self, batch: list[RecordedReply], again: bool) -> list[int]:
        """Store replies, unless an earlier attempt did although it failed; return their ids."""
        if again:
            found = [self._generations.find(reply.generation, reply.trace) for reply in batch]
            known = [one for one in found if one is not None]
            if len(known) == len(batch):  # they are stored all or none
                return known
        return self._generations.record(batch)
