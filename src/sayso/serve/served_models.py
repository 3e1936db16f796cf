"""The models of a running server: which one answers a request, and how another one takes its place.

A request picks its model once, when it begins, and keeps it until its reply has ended. A model that was replaced gets
no new requests; when the last one has let go of it, its engine's thread ends and its memory is free.
"""

import dataclasses
from weakref import WeakSet, finalize

from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.metrics import Metrics
from sayso.serve.served_model import ServedModel
from sayso.serve.worker import Worker


def start_model(
    replier: Replier, name: str, fingerprint: str, engine: Engine, queue: int, alias: str | None = None
) -> ServedModel:
    """Return a model with a thread of its own for its engine; at most `queue` requests wait for it."""
    return ServedModel(replier, name, fingerprint, Worker(engine, queue, Metrics(engine, name)), alias)


class ServedModels:
    """The models that answer at this moment. All methods are for the event loop."""

    def __init__(self, main: ServedModel) -> None:
        self.main = main
        """The model that answers."""
        self._workers = WeakSet({main.worker})  # with those of replaced models that are still in use

    @property
    def closing(self) -> bool:
        """Whether no new requests are accepted."""
        return self.main.worker.closing

    def pick(self) -> ServedModel:
        """Return the model for a new request, which refers to it until it has ended."""
        return self.main

    def replace(self, model: ServedModel) -> None:
        """Let another model answer new requests."""
        old, self.main = self.main, dataclasses.replace(model, recorder=self.main.recorder)
        self._workers.add(model.worker)
        finalize(old, old.worker.retire).atexit = False

    def drain(self, grace: float | None = None) -> None:
        """Accept no new requests; running ones are cut off after `grace` seconds if given."""
        for worker in list(self._workers):
            worker.drain(grace)

    def close(self) -> None:
        """Stop every reply, and wait for the threads to end."""
        for worker in list(self._workers):
            worker.close()
