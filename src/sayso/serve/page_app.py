"""The page over another server's OpenAI-compatible API: takes the remote models and a store, returns an application.

It has the page and its own routes, and no API.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from sayso.base.life import Life
from sayso.feedback.store import Store
from sayso.feedback.traffic import keep_minutes
from sayso.serve.assembly import Gate, Speakers, add_state, assemble, page_routes, records_of
from sayso.serve.jobs import Acts
from sayso.serve.keyring import Keyring
from sayso.serve.page_replies import PageReplies
from sayso.serve.remote import Remote
from sayso.serve.remote_replies import remote_facts, remote_reply_routes
from sayso.serve.traffic import Traffic


def make_page_app(
    remote: Remote,
    store: Store,
    *,
    key: str | None = None,
    origins: Collection[str] = (),
    life: Life | None = None,
    acts: Acts | None = None,
) -> FastAPI:
    """Return the application.

    With a `key`, or keys in the store, every route but the page's files, /health and /ready requires one. `life` and
    `acts`: what the screens Runs and Models show, and the acts that they may start.
    """
    replies = PageReplies(store, lambda: remote_facts(remote))
    traffic = Traffic(partial(keep_minutes, store))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        remote.stop()
        await replies.close()
        await traffic.close()

    speakers = Speakers(lambda: remote.names, remote.ask, lambda: remote.closing)
    routers = [remote_reply_routes(replies, remote), *page_routes(store, records_of(life, acts), speakers)]
    app = assemble(routers, Gate(Keyring(store, key), traffic, origins), lifespan)
    app.state.models = remote
    add_state(app, speakers.closing)
    return app
