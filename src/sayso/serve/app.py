"""The server's application: one model, its store and the page, put together.

Takes a replier and a store, returns an ASGI application. Nothing here listens on a port.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from sayso import __version__
from sayso.base.life import Life
from sayso.feedback.changes import store_marks
from sayso.feedback.store import Store
from sayso.feedback.traffic import keep_minutes
from sayso.reply import Replier
from sayso.report.run_curves import RunCurves
from sayso.report.run_list import RunList
from sayso.sample.engine import Engine
from sayso.serve.access import AccessMiddleware
from sayso.serve.anthropic import anthropic_routes
from sayso.serve.changes import Changes, change_routes
from sayso.serve.completions import openai_routes
from sayso.serve.conversations import conversation_routes
from sayso.serve.embeddings import embedding_routes
from sayso.serve.envelope import Envelope
from sayso.serve.errors import ApiError, add_handlers
from sayso.serve.follow import Following
from sayso.serve.jobs import Acts, Jobs
from sayso.serve.keyring import Keyring
from sayso.serve.lora import lora_routes
from sayso.serve.metrics import TYPE, metrics_text
from sayso.serve.page_files import add_page
from sayso.serve.paths import PathAliases, names_under_v1
from sayso.serve.prompt_routes import prompt_routes
from sayso.serve.ratings import rating_routes
from sayso.serve.recording import Recorder, Share
from sayso.serve.replies import PageReplies, reply_routes
from sayso.serve.responses import response_routes
from sayso.serve.scoring import scoring_routes
from sayso.serve.screens.diagnose import diagnose_routes
from sayso.serve.screens.models import model_routes
from sayso.serve.screens.rate import rate_routes
from sayso.serve.screens.rate_setup import rate_setup_routes
from sayso.serve.screens.runs import LifeRecords, run_routes
from sayso.serve.screens.triage import triage_routes
from sayso.serve.screens.watch import watch_routes
from sayso.serve.served_models import ServedModels, start_model
from sayso.serve.tokens import token_routes
from sayso.serve.traffic import Traffic

BODY_LIMIT = 2**20  # bytes: more than any context served from one machine
QUEUE = 16


def make_app(
    replier: Replier,
    store: Store,
    name: str,
    *,
    fingerprint: str = "",
    key: str | None = None,
    engine: Engine | None = None,
    queue: int = QUEUE,
    body_limit: int = BODY_LIMIT,
    origins: Collection[str] = (),
    admin_key: str | None = None,
    following: Following | None = None,
    record: Share = "off",
    life: Life | None = None,
    acts: Acts | None = None,
) -> FastAPI:
    """Return the application that serves a model under `name`, or what an alias names by then.

    `fingerprint` of the weights is stored with every reply. With a `key`, or keys in the store, every route but the
    page's files, /health and /ready requires one. `engine` runs the replier's model (default: a new one); its adapters
    are served as models. At most `queue` requests wait for a row; further ones are answered with 429. Web pages of
    `origins` may use the server (CORS). With an `admin_key`, adapters can be loaded while the server runs.
    `record`: whether the replies of the API are stored, those of the page always are. `following`: the
    alias of the model, which is followed when it names another one, and those of models that answer next to it.
    `life` and `acts`: what the screens Runs and Models show, and the acts that they may start.
    """
    entry = following.main.entry if following else None
    alias = entry.alias if entry else None
    main = start_model(replier, name, fingerprint, engine or Engine(replier.model), queue, alias)
    recorder = None if record == "off" else Recorder(store, record)
    models = ServedModels(dataclasses.replace(main, recorder=recorder), entry)
    if recorder is not None:
        recorder.recorded = models.recorded
    followers = following.followers(models, store) if following else []
    keyring = Keyring(store, key, admin_key)
    replies = PageReplies(models, store)
    records = _records(life, acts) if life and acts else None
    traffic = Traffic(partial(keep_minutes, store))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = [asyncio.create_task(follower.run()) for follower in followers]
        yield
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await models.answer_unseen(None)
        await run_in_threadpool(models.close)
        await replies.close()
        if recorder is not None:
            await recorder.close()
        await traffic.close()

    app = FastAPI(title="sayso", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.models = models
    add_handlers(app)
    routers = _routers(models, store, replies, records)
    for router in routers:
        app.include_router(router)
    # The last one added is the outermost.
    app.add_middleware(AccessMiddleware, keyring=keyring, body_limit=body_limit, origins=origins)
    app.add_middleware(PathAliases, names=names_under_v1(routers))
    app.add_middleware(Envelope, origins=origins, traffic=traffic)

    _add_state(app, models)
    add_page(app)
    return app


def _routers(models: ServedModels, store: Store, replies: PageReplies, records: LifeRecords | None) -> list[APIRouter]:
    """Return the routes of the API, then those of the page."""
    return [
        openai_routes(models, int(time.time())),
        embedding_routes(models),
        token_routes(models),
        response_routes(models),
        anthropic_routes(models),
        prompt_routes(models),
        scoring_routes(models),
        lora_routes(models),
        conversation_routes(store),
        reply_routes(replies),
        rating_routes(store, models),
        rate_routes(store, models),
        rate_setup_routes(store, models),
        run_routes(records),
        model_routes(records, store),
        diagnose_routes(store),
        change_routes(Changes(partial(_marks, store, records), lambda: models.closing)),
        watch_routes(store),
        triage_routes(store),
    ]


def _add_state(app: FastAPI, models: ServedModels) -> None:
    """Add the routes that tell whether the server lives, answers, and how it does."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        if models.closing:
            raise ApiError(503, "This server is shutting down.", "closing")
        return {"status": "ok"}

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": __version__}

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics_text(models.registries), media_type=TYPE)


def _records(life: Life, acts: Acts) -> LifeRecords:
    return LifeRecords(RunList(life), RunCurves(life), Jobs(life, acts.environment), acts)


def _marks(store: Store, records: LifeRecords | None) -> Mapping[str, Any]:
    """Return what has to change for a page to read it again, by topic."""
    return {**store_marks(store), **(records.marks() if records else {})}
