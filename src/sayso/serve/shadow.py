"""A shadow: another model answers what people ask, too, unseen, so that its replies can be compared later.

It answers once the real reply is stored, one at a time, and begins only while the real models have nothing to do.
Whatever goes wrong with it is logged and changes nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from sayso.feedback.aliases import Assignment
from sayso.feedback.candidates import Candidate, Candidates
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.store import Store
from sayso.sample.sampling import Sampling
from sayso.serve.answering import answer
from sayso.serve.canary_metrics import ShadowMetrics
from sayso.serve.served_model import ServedModel

_log = logging.getLogger(__name__)
WAITING = 100  # replies that wait for their shadow; further ones have none
_ROLES = ("system", "user", "assistant")
PAUSE = 0.05  # seconds between two looks whether the real model is idle


@dataclass(frozen=True)
class ShownReply:
    """A reply that was shown and stored."""

    message_id: int
    conversation: int | str
    """The id of the page's, or the key of the API's."""
    prompt: Sequence[Mapping[str, Any]]
    sampling: Sampling
    model: str


class Shadow:
    """A model that answers unseen. All methods are for the event loop."""

    def __init__(self, served: ServedModel, entry: Assignment, store: Store, busy: Callable[[], bool]) -> None:
        """`busy`: whether the models whose replies are shown have something to do."""
        self.served, self.entry, self._busy = served, entry, busy
        self._generations, self._candidates = Generations(store), Candidates(store)
        self._waiting: asyncio.Queue[ShownReply] = asyncio.Queue(WAITING)
        self.metrics = ShadowMetrics(served.name, self._waiting.qsize)
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run())
        self.left_out = 0
        """How many replies have no shadow, because too many waited."""

    def follow_recorded(self, reply: RecordedReply, message_id: int) -> None:
        """Answer what a recorded reply of the API has answered, unless that takes more than a conversation.

        Tools, a given form, and settings with ids of the other tokenizer are left out, and so are all replies to a
        request but the first.
        """
        sampling = Sampling(**reply.generation.sampling)
        bound = (sampling.logit_bias, sampling.allowed_ids, sampling.banned)
        plain = all(turn["role"] in _ROLES and turn.keys() == {"role", "content"} for turn in reply.prompt)
        if reply.free and plain and not any(bound) and reply.trace.sample == 0:
            made = reply.generation
            self.follow(ShownReply(message_id, reply.conversation, reply.prompt, sampling, made.model))

    def follow(self, shown: ShownReply) -> None:
        """Answer what a reply has answered, when there is time; what the model itself has answered is left out."""
        if shown.model == self.served.name:
            return
        try:
            self._waiting.put_nowait(shown)
        except asyncio.QueueFull:
            self.left_out += 1
            self.metrics.answered("left_out")
            if self.left_out & (self.left_out - 1) == 0:  # 1, 2, 4, 8 ...
                _log.warning("Replies without a shadow so far, because it is too slow: %d.", self.left_out)

    async def close(self) -> None:
        """Answer nothing more; the reply in progress is dropped."""
        task, self._task = self._task, None  # its error refers to this object, which must be free without it
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            shown = await self._waiting.get()
            while self._busy():
                await asyncio.sleep(PAUSE)
            try:
                await self._answer(shown)
                self.metrics.answered("stored")
            except Exception as error:
                self.metrics.answered("failed")
                _log.warning("The shadow '%s' could not answer: %s", self.served.name, error)

    async def _answer(self, shown: ShownReply) -> None:
        """Answer with the same settings and seed, and store both replies as a set."""
        reply = await answer(self.served, shown.conversation, shown.prompt, shown.sampling, "shadow")
        await run_in_threadpool(self._store, shown, reply)

    def _store(self, shown: ShownReply, reply: RecordedReply) -> None:
        [message] = self._generations.record([reply])
        made = Candidate(shown.model, shown.message_id), Candidate(self.served.name, message)
        self._candidates.add("shadow", made)
