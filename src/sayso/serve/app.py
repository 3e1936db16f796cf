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

from sayso.base.life import Life
from sayso.feedback.generations import RecordedReply
from sayso.feedback.store import Store
from sayso.feedback.traffic import keep_minutes
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.sampling import Sampling, seeded
from sayso.serve.answering import answer
from sayso.serve.anthropic import anthropic_routes
from sayso.serve.assembly import BODY_LIMIT, Gate, Speakers, add_state, assemble, page_routes, records_of
from sayso.serve.completions import openai_routes
from sayso.serve.embeddings import embedding_routes
from sayso.serve.follow import Following
from sayso.serve.jobs import Acts
from sayso.serve.keyring import Keyring
from sayso.serve.lora import lora_routes
from sayso.serve.metrics import TYPE, metrics_text
from sayso.serve.page_replies import PageReplies
from sayso.serve.prompt_routes import prompt_routes
from sayso.serve.recording import Recorder, Share
from sayso.serve.replies import facts_of, reply_routes
from sayso.serve.responses import response_routes
from sayso.serve.scoring import scoring_routes
from sayso.serve.served_models import ServedModels, start_model
from sayso.serve.tokens import token_routes
from sayso.serve.traffic import Traffic
from sayso.serve.xray_routes import xray_routes

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
    replies = PageReplies(store, lambda: facts_of(models.pick()))
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

    speakers = Speakers(
        lambda: models.speakers,
        partial(_ask, models),
        lambda: models.closing,
        lambda: models.canary,
        lambda: f"{models.main.name} {models.main.fingerprint}",
    )
    own = page_routes(store, records_of(life, acts), speakers)
    routers = [*_api_routes(models), reply_routes(replies, models), xray_routes(models, store, life), *own]
    app = assemble(routers, Gate(keyring, traffic, origins, body_limit), lifespan)
    app.state.models = models
    add_state(app, speakers.closing)

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics_text(models.registries), media_type=TYPE)

    return app


def _api_routes(models: ServedModels) -> list[APIRouter]:
    return [
        openai_routes(models, int(time.time())),
        embedding_routes(models),
        token_routes(models),
        response_routes(models),
        anthropic_routes(models),
        prompt_routes(models),
        scoring_routes(models),
        lora_routes(models),
    ]


async def _ask(
    models: ServedModels, name: str, turns: list[dict[str, Any]], settings: Mapping[str, Any]
) -> RecordedReply:
    """Let the served model of a name reply to turns, for a pair to be rated."""
    served = models.pick(name)
    return await answer(served, "", turns, seeded(Sampling(**settings)), "rate", served.adapter(name))
