"""What the applications of a server have in common: the page's own routes, the checks of each request, the page."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI

from sayso import __version__
from sayso.base.life import Life
from sayso.feedback.changes import store_marks
from sayso.feedback.store import Store
from sayso.report.run_curves import RunCurves
from sayso.report.run_list import RunList
from sayso.serve.access import AccessMiddleware
from sayso.serve.canary import Canary
from sayso.serve.changes import Changes, change_routes
from sayso.serve.conversations import conversation_routes
from sayso.serve.envelope import Envelope
from sayso.serve.errors import ApiError, add_handlers
from sayso.serve.jobs import Acts, Jobs
from sayso.serve.keyring import Keyring
from sayso.serve.page_files import add_page
from sayso.serve.paths import PathAliases, names_under_v1
from sayso.serve.ratings import rating_routes
from sayso.serve.screens.diagnose import diagnose_routes
from sayso.serve.screens.models import model_routes
from sayso.serve.screens.rate import rate_routes
from sayso.serve.screens.rate_setup import Ask, rate_setup_routes
from sayso.serve.screens.runs import LifeRecords, run_routes
from sayso.serve.screens.triage import triage_routes
from sayso.serve.screens.watch import watch_routes
from sayso.serve.traffic import Traffic

BODY_LIMIT = 2**20  # bytes: more than any context served from one machine


@dataclass(frozen=True)
class Speakers:
    """The models behind the page, as far as its routes need to know them."""

    names: Callable[[], Iterable[str]]
    """Those that can be asked for a reply."""
    ask: Ask
    closing: Callable[[], bool]
    """Whether the server is shutting down."""
    canary: Callable[[], Canary | None] = lambda: None
    """The canary of the moment."""
    answering: Callable[[], str] = lambda: ""
    """A mark of the model that answers, which is another one as soon as another model does."""


@dataclass(frozen=True)
class Gate:
    """What every request passes: who may send it, how large it may be, and how it is counted."""

    keyring: Keyring
    traffic: Traffic
    origins: Collection[str] = ()
    body_limit: int = BODY_LIMIT


def page_routes(store: Store, records: LifeRecords | None, speakers: Speakers) -> list[APIRouter]:
    """Return the page's own routes, except those that make replies."""
    return [
        conversation_routes(store),
        rating_routes(store, speakers.canary),
        rate_routes(store, speakers.names),
        rate_setup_routes(store, speakers.ask),
        run_routes(records),
        model_routes(records, store),
        diagnose_routes(store),
        change_routes(Changes(partial(_marks, store, records, speakers.answering), speakers.closing)),
        watch_routes(store),
        triage_routes(store),
    ]


def assemble(
    routers: Sequence[APIRouter], gate: Gate, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]
) -> FastAPI:
    """Return an application with these routes and the page's files."""
    app = FastAPI(title="sayso", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    add_handlers(app)
    for router in routers:
        app.include_router(router)
    # The last one added is the outermost.
    app.add_middleware(AccessMiddleware, keyring=gate.keyring, body_limit=gate.body_limit, origins=gate.origins)
    app.add_middleware(PathAliases, names=names_under_v1(routers))
    app.add_middleware(Envelope, origins=gate.origins, traffic=gate.traffic)
    add_page(app)
    return app


def add_state(app: FastAPI, closing: Callable[[], bool]) -> None:
    """Add the routes that tell whether the server lives and answers."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        if closing():
            raise ApiError(503, "This server is shutting down.", "closing")
        return {"status": "ok"}

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": __version__}


def records_of(life: Life | None, acts: Acts | None) -> LifeRecords | None:
    """Return what the screens Runs and Models show of a life; None without one."""
    if life is None or acts is None:
        return None
    return LifeRecords(RunList(life), RunCurves(life), Jobs(life, acts.environment), acts)


def _marks(store: Store, records: LifeRecords | None, answering: Callable[[], str]) -> Mapping[str, Any]:
    """Return what has to change for a page to read it again, by topic."""
    return {**store_marks(store), "answering": answering(), **(records.marks() if records else {})}
