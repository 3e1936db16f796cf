"""Follow an alias: when it names another model, that one is loaded, and answers in place of the one before.

Looks into the store once a second, so that a promotion or a roll-back by any process takes effect in every server.
A model that cannot be loaded leaves the one before in place.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from sayso.base.device import out_of_memory
from sayso.base.errors import UserError
from sayso.feedback.aliases import Assignment
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels

_log = logging.getLogger(__name__)
EVERY, RETRY = 1.0, 30.0  # seconds between two looks, and until a model that could not be loaded is tried again


@dataclass(frozen=True)
class Follow:
    """An alias, and how to find and load the model that it names."""

    entry: Assignment
    """What the alias named when the first model was loaded."""
    current: Callable[[], Assignment | None]
    """Returns what it names now."""
    load: Callable[[Assignment], ServedModel]
    """Loads the model of an entry; raises `UserError` if it is not there or has other weights."""


class Follower:
    """Lets the models of a server follow an alias."""

    def __init__(self, follow: Follow, models: ServedModels) -> None:
        self.follow, self.models = follow, models
        self.entry = follow.entry  # that of the served model
        self._failed = 0  # the id of the entry whose model could not be loaded
        self._again = 0.0  # when to try it again
        self._told = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Serve what the alias names, if it names another model now."""
        entry: Assignment | None = None
        try:
            entry = await run_in_threadpool(self.follow.current)
            waits = entry is not None and entry.id == self._failed and self._now < self._again
            if entry is not None and entry.id != self.entry.id and not waits:
                await self._serve(entry)
        except Exception as error:  # whatever it is, the model before must go on answering
            if entry is not None:
                self._failed, self._again = entry.id, self._now + RETRY
            self._tell(entry, error)

    async def _serve(self, entry: Assignment) -> None:
        if (entry.model, entry.fingerprint) != (self.entry.model, self.entry.fingerprint):
            self.models.replace(await run_in_threadpool(self.follow.load, entry))
        self.entry, self._told = entry, ""

    def _tell(self, entry: Assignment | None, error: Exception) -> None:
        """Log why the model before goes on answering, once for each reason; without an entry the store failed."""
        if out_of_memory(error):
            reason = "there is not enough memory for both models at once."
        else:
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        change = f"names '{entry.model}'" if entry else "may name another model"
        text = f"'{self.entry.alias}' {change}, but '{self.entry.model}' goes on answering: {reason}"
        if text != self._told:
            _log.warning(text)
        self._told = text

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
