"""Follow an alias: when it names another model, that one is loaded, and answers in place of the one before.

Looks into the store once a second, so that a promotion or a roll-back by any process takes effect in every server.
A model that cannot be loaded leaves the one before in place.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace

from starlette.concurrency import run_in_threadpool

from sayso.base.device import out_of_memory
from sayso.base.errors import UserError
from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.store import Store
from sayso.judge.canary import judge_canary
from sayso.serve.canary import Canary
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.shadow import Shadow

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
    others: Callable[[Assignment], Collection[str]] | None = None
    """Returns the other aliases that name the model of an entry, if clients may use them."""


class Follower:
    """Lets the current model of a server follow an alias."""

    def __init__(self, follow: Follow, models: ServedModels) -> None:
        self.follow, self.models = follow, models
        self._failed = 0  # the id of the entry whose model could not be loaded
        self._again = 0.0  # when to try it again
        self._told = ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await self.name_others()
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Serve what the alias names, if that has changed."""
        entry: Assignment | None = None
        try:
            entry = await run_in_threadpool(self.follow.current)
            waits = entry is not None and entry.id == self._failed and self._now < self._again
            if entry is not None and self.is_new(entry) and not waits:
                await self.serve(entry)
                self._told = ""
        except Exception as error:  # whatever it is, the models before must go on answering
            if entry is not None:
                self._failed, self._again = entry.id, self._now + RETRY
            self._tell(entry, error)
        await self.name_others()

    async def name_others(self) -> None:
        """Let clients use the other aliases of the current model, as they are now."""
        if self.follow.others is None or self.models.entry is None:
            return
        try:
            others = await run_in_threadpool(self.follow.others, self.models.entry)
        except Exception as error:
            self._tell(None, error)
        else:
            known = self.models.main.others  # the same set as the canary's
            known.update(others)
            known.intersection_update(others)

    def is_new(self, entry: Assignment) -> bool:
        """Whether an entry asks for another model than the last one."""
        return self.models.entry is None or entry.id != self.models.entry.id

    async def serve(self, entry: Assignment) -> None:
        """Serve the model of an entry; nothing is loaded if it is the same model."""
        before = self.models.entry
        if before is not None and (entry.model, entry.fingerprint) == (before.model, before.fingerprint):
            self.models.entry = entry
        else:
            self.models.replace(await run_in_threadpool(self.follow.load, entry), entry)

    def _tell(self, entry: Assignment | None, error: Exception) -> None:
        """Log why the models before go on answering, once for each reason; without an entry the store failed."""
        if out_of_memory(error):
            reason = "there is not enough memory for one more model."
        else:
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        alias = self.follow.entry.alias
        text = f"'{alias}' names '{entry.model}'" if entry else f"What '{alias}' names cannot be seen"
        text += f"; what was served before goes on answering: {reason}"
        if text != self._told:
            _log.warning(text)
        self._told = text

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class ShadowFollower(Follower):
    """Lets the shadow of a server follow an alias."""

    def __init__(self, follow: Follow, models: ServedModels, store: Store) -> None:
        super().__init__(follow, models)
        self.store = store
        self._placed = (0, 0)  # ids of the entries of the shadow and of the current model that were compared last

    def is_new(self, entry: Assignment) -> bool:
        """Whether an entry asks for another shadow than the last one."""
        return (entry.id, self.models.entry and self.models.entry.id) != self._placed

    async def serve(self, entry: Assignment) -> None:
        """Let the model of an entry answer unseen, unless it is the current one."""
        models, current = self.models, self.models.entry
        assert current is not None
        if entry.fingerprint == current.fingerprint:
            await models.answer_unseen(None)
        elif models.shadow is None or models.shadow.entry.id != entry.id:
            served = await run_in_threadpool(self.follow.load, entry)
            await models.answer_unseen(Shadow(served, entry, self.store, lambda: models.busy))
        self._placed = entry.id, current.id


class CanaryFollower(Follower):
    """Lets the canary of a server follow an alias, and ends it when there is evidence against its model."""

    def __init__(self, follow: Follow, models: ServedModels, share: float, store: Store) -> None:
        super().__init__(follow, models)
        self.share, self.store = share, store
        self._placed = (0, 0)  # ids of the entries of the candidate and of the current model that were compared last
        self._judged, self._state = 0, "undecided"

    async def look(self) -> None:
        """As for the current model; then look at the evidence."""
        await super().look()
        try:
            await self._judge()
        except Exception as error:
            self._tell(None, error)

    def is_new(self, entry: Assignment) -> bool:
        """Whether an entry asks for another comparison than the last one."""
        return (entry.id, self.models.entry and self.models.entry.id) != self._placed

    async def serve(self, entry: Assignment) -> None:
        """Try out the model of an entry, unless it is the current one."""
        models, current = self.models, self.models.entry
        main, canary = models.main, models.canary
        assert current is not None
        if entry.fingerprint == current.fingerprint:
            models.try_out(None)
        else:
            if canary is not None and canary.entry.id == entry.id:
                served = canary.served
            else:
                loaded = await run_in_threadpool(self.follow.load, entry)
                served = replace(loaded, stands_in=main.alias, recorder=main.recorder, others=main.others)
            made = Canary(served, entry, self.share, main, self.store)
            await run_in_threadpool(made.log.begin, current, self.share)
            models.try_out(made)
            self._judged, self._state = 0, "undecided"
        self._placed = entry.id, current.id

    async def _judge(self) -> None:
        """Look at what the conversations have shown since the last look."""
        canary, current = self.models.canary, self.models.entry
        if canary is None or current is None:
            return
        latest = await run_in_threadpool(canary.log.latest)
        if latest == self._judged:
            return
        record = await run_in_threadpool(canary.log.read)
        self._judged = latest
        if record is None:
            return
        verdict = judge_canary(record.outcomes, record.share)
        canary.metrics.judged(verdict)
        if verdict.state == "worse":
            reason = f"A canary found it worse than '{current.model}': {verdict.said}"
            await run_in_threadpool(Aliases(self.store).withdraw, canary.entry, current, reason, asdict(verdict))
        if verdict.state not in ("undecided", self._state):
            _log.warning(f"The canary '{canary.entry.model}': {verdict.state}. {verdict.said}")
        self._state = verdict.state


@dataclass(frozen=True)
class Following:
    """The aliases that a server follows."""

    main: Follow
    """That of the current model."""
    canary: Follow | None = None
    """That of a model which answers a share of the conversations."""
    share: float = 0.1
    shadow: Follow | None = None
    """That of a model which answers stored conversations, too, unseen."""

    def followers(self, models: ServedModels, store: Store) -> list[Follower]:
        """Return what follows them."""
        found = [Follower(self.main, models)]
        if self.canary is not None:
            found.append(CanaryFollower(self.canary, models, self.share, store))
        if self.shadow is not None:
            found.append(ShadowFollower(self.shadow, models, store))
        return found
