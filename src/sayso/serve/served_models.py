"""The models of a running server: which one answers a request, and how another one takes its place.

A request picks its model once, when it begins, and keeps it until its reply has ended. A model that was replaced gets
no new requests; when the last one has let go of it, its engine's thread ends and its memory is free.
"""

import dataclasses
from functools import partial
from weakref import WeakSet, finalize

from fastapi import Request
from prometheus_client import CollectorRegistry

from sayso.feedback.aliases import Assignment
from sayso.feedback.canary import CANDIDATE
from sayso.feedback.generations import RecordedReply
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.canary import Canary, conversation_of
from sayso.serve.metrics import Metrics
from sayso.serve.served_model import ServedModel
from sayso.serve.shadow import Shadow
from sayso.serve.worker import ENDED, Worker


def start_model(
    replier: Replier, name: str, fingerprint: str, engine: Engine, queue: int, alias: str | None = None
) -> ServedModel:
    """Return a model with a thread of its own for its engine; at most `queue` requests wait for it."""
    return ServedModel(replier, name, fingerprint, Worker(engine, queue, Metrics(engine, name)), alias)


class ServedModels:
    """The models that answer at this moment. All methods are for the event loop."""

    def __init__(self, main: ServedModel, entry: Assignment | None = None) -> None:
        self.main, self.entry = main, entry
        """The current model, and what its alias names, if it has one."""
        self.canary: Canary | None = None
        """Another one that answers a share of the conversations."""
        self.shadow: Shadow | None = None
        """Another one that answers too, unseen."""
        self._workers = WeakSet({main.worker})  # with those of replaced models that are still in use

    @property
    def closing(self) -> bool:
        """Whether no new requests are accepted."""
        return self.main.worker.closing

    @property
    def listed(self) -> list[tuple[ServedModel, str]]:
        """All names that clients may use, each with the model that answers."""
        others = [(self.main, name) for name in sorted(self.main.others)]
        return [*((model, name) for model in self.every for name in model.names), *others]

    @property
    def every(self) -> list[ServedModel]:
        """All models that answer new requests."""
        return [self.main, *([self.canary.served] if self.canary else [])]

    @property
    def speakers(self) -> list[str]:
        """The names of the models and adapters that the page can ask for a reply."""
        return list(dict.fromkeys(name for one in self.every for name in (one.name, *one.adapters)))

    @property
    def registries(self) -> list[CollectorRegistry]:
        """The metrics of these models, and of what is compared with the current one."""
        compared = [one.metrics for one in (self.canary, self.shadow) if one is not None]
        return [one.registry for one in (*(model.worker.metrics for model in self.every), *compared)]

    @property
    def busy(self) -> bool:
        """Whether one of them has something to do."""
        return any(model.worker.load for model in self.every)

    def pick(self, name: str | None = None) -> ServedModel:
        """Return the model of a name for a new request, which refers to it until it has ended.

        The current model by default, and for an unknown name, which it refuses.
        """
        return next((model for model in self.every if name in model.names), self.main)

    def leaves_open(self, name: str | None) -> bool:
        """Whether a request with this name, if any, may get the current model or the canary in its place."""
        return name in (None, self.main.alias, *self.main.others)

    async def pick_for(self, name: str | None, request: Request) -> ServedModel:
        """Return the model for a new request to the API, which may be the canary's unless it names a model itself.

        All aliases of the current model ask for the same: the current one, or the canary in its place.
        """
        if self.canary is None or not self.leaves_open(name):
            return self.pick(name)
        conversation = await conversation_of(request)
        request.scope.setdefault("state", {})["canary"] = conversation
        return self.pick_by(conversation)

    def pick_by(self, conversation: str) -> ServedModel:
        """Return the model for a new request of a conversation, whose outcome is logged if there is a canary."""
        if self.canary is None:
            return self.main
        ENDED.set(partial(self.canary.ended, conversation))
        return self.canary.served if self.canary.arm(conversation) == CANDIDATE else self.main

    def replace(self, model: ServedModel, entry: Assignment) -> None:
        """Let another model be the current one, for new requests."""
        old, self.entry = self.main, entry
        self.main = dataclasses.replace(model, recorder=old.recorder, others=old.others)
        self._workers.add(model.worker)
        _retire(old)

    def try_out(self, canary: Canary | None) -> None:
        """Let a canary answer its share of new requests; None ends the one before."""
        old, self.canary = self.canary, canary
        if canary is not None:
            self._workers.add(canary.served.worker)
        if old is not None and all(old.served is not model for model in self.every):
            _retire(old.served)

    def recorded(self, reply: RecordedReply, message_id: int) -> None:
        """Let the shadow answer what a recorded reply of the API has answered."""
        if self.shadow is not None:
            self.shadow.follow_recorded(reply, message_id)

    async def answer_unseen(self, shadow: Shadow | None) -> None:
        """Let a shadow answer too; None ends the one before."""
        old, self.shadow = self.shadow, shadow
        if shadow is not None:
            self._workers.add(shadow.served.worker)
        if old is not None:
            await old.close()
            _retire(old.served)

    def drain(self, grace: float | None = None) -> None:
        """Accept no new requests; running ones are cut off after `grace` seconds if given."""
        for worker in list(self._workers):
            worker.drain(grace)

    def close(self) -> None:
        """Stop every reply, and wait for the threads to end."""
        for worker in list(self._workers):
            worker.close()


def _retire(model: ServedModel) -> None:
    """End a model's thread when nothing refers to the model any more."""
    finalize(model, model.worker.retire).atexit = False
