"""A canary: a share of the conversations is answered by a candidate, and what comes of them is logged.

A conversation keeps its model, in every server of the store. A request that names the candidate or the current model
itself gets that one, and does not count.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import BrokenModelError, UserError
from sayso.feedback.aliases import Assignment
from sayso.feedback.canary import BAD, CANDIDATE, CURRENT, FAILED, GOOD, PREFERRED, CanaryLog, key_of_user
from sayso.feedback.generations import Generations
from sayso.feedback.ratings import Rating
from sayso.feedback.store import Store, StoredMessage
from sayso.serve.canary_metrics import CanaryMetrics
from sayso.serve.recording import named_user
from sayso.serve.served_model import ServedModel
from sayso.serve.worker import ClosingError

_log = logging.getLogger(__name__)
MOST_KNOWN = 100_000  # conversations whose first request is remembered


class Canary:
    """A candidate next to the current model. All methods but `rated` are for the event loop."""

    def __init__(
        self, served: ServedModel, entry: Assignment, share: float, current: ServedModel, store: Store
    ) -> None:
        self.served, self.entry, self.share = served, entry, share
        self._marks = {CANDIDATE: served.fingerprint, CURRENT: current.fingerprint}
        self.log, self._generations = CanaryLog(store, entry), Generations(store)
        self.metrics = CanaryMetrics({CANDIDATE: served.name, CURRENT: current.name})
        self._known: dict[str, None] = {}  # conversations that were logged, oldest first
        self._writing: set[asyncio.Task[None]] = set()

    def arm(self, conversation: str) -> str:
        """Return which model a conversation gets: the same at any time, and in every process."""
        digest = hashlib.sha256(f"{self.entry.id} {conversation}".encode()).hexdigest()
        return CANDIDATE if int(digest[:13], 16) < self.share * 16**13 else CURRENT

    def ended(self, conversation: str, error: Exception | None) -> None:
        """Log the first request of a conversation, and whether the server failed to answer it."""
        if conversation in self._known or isinstance(error, ClosingError):
            return
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[conversation] = None
        ours = error is not None and (not isinstance(error, UserError) or isinstance(error, BrokenModelError))
        task = asyncio.create_task(self._add_later(conversation, FAILED if ours else None))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def rated(self, rating: Rating, reply: StoredMessage, other: StoredMessage | None) -> None:
        """Log what a person thinks of a reply, or of two of them. For any thread.

        Every rating is logged; which one counts is decided where the log is read.
        """
        arm, conversation = self._arm_of(reply), self._conversation(reply)
        if arm is None or not rating.value:
            return
        if other is not None:
            if self._arm_of(other) not in (None, arm):
                conversation = conversation or self._conversation(other) or str(reply.conversation_id)
                self._add(arm, conversation, PREFERRED)
        elif conversation is not None and arm == self.arm(conversation) and rating.kind in ("thumb", "edit"):
            good = rating.kind == "thumb" and rating.value > 0
            self._add(arm, conversation, GOOD if good else BAD)

    def _conversation(self, reply: StoredMessage) -> str | None:
        """Return what identifies a reply's conversation; None for a reply of the API whose request took no part."""
        on_page = reply.parent_id is not None
        return str(reply.conversation_id) if on_page else self._generations.canary(reply.id)

    def _arm_of(self, reply: StoredMessage) -> str | None:
        """Return which of the two models made a reply; None for another one."""
        made = reply.generation
        return next((arm for arm, mark in self._marks.items() if made is not None and made.fingerprint == mark), None)

    def _add(self, arm: str, conversation: str, outcome: float | None) -> None:
        self.log.add(arm, conversation, outcome)
        self.metrics.logged(arm, outcome)

    async def _add_later(self, conversation: str, outcome: float | None) -> None:
        try:
            await run_in_threadpool(self._add, self.arm(conversation), conversation, outcome)
        except Exception as error:  # the reply must not fail because of it
            _log.warning("A conversation is missing from the canary's log: %s", error)


async def conversation_of(request: Request) -> str:
    """Return what identifies the conversation of a request to the API: its user, or else its first message."""
    body = await request.json()
    user = named_user(body)
    return key_of_user(user) if user else hashlib.sha256(json.dumps(_beginning(body)).encode()).hexdigest()


def _beginning(body: Mapping[str, Any]) -> Any:
    """Return the first turn of the user, or the prompt."""
    turns = body.get("messages") or body.get("input") or body.get("prompt")
    if not isinstance(turns, list):
        return turns
    return next((turn for turn in turns if isinstance(turn, Mapping) and turn.get("role") == "user"), turns[:1])
