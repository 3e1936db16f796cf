"""The listening server: answers before its model is loaded, and lets running requests finish on shutdown.

While the model loads, /health is alive and all other paths answer 503. On shutdown it answers /ready and new requests
with 503, closes the port, gives replies a grace period, and cuts off the rest: streams end with an error event, other
requests get 503. Replies on the page are stored.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from sayso.serve.envelope import Envelope, send_json
from sayso.serve.errors import error_body
from sayso.serve.paths import PathAliases
from sayso.serve.protocol import Protocol

LINGER = 3  # seconds for replies to end after they were cut off


class Loading:
    """An ASGI application that loads another one, and then forwards every request to it."""

    def __init__(self, load: Callable[[], FastAPI]) -> None:
        """Take the function that makes the application; it is called in a thread once the server has started."""
        self.load = load
        self.early = Envelope(PathAliases(_not_yet))
        """Answers until the application is loaded."""
        self.app: FastAPI | None = None
        self.error: Exception | None = None
        """The error of a failed load, which ends the server."""
        self.failed: Callable[[], None] = lambda: None
        self.ready: Callable[[], None] = lambda: None
        """Called when the application answers."""

    def drain(self, grace: float | None = None) -> None:
        """Accept no new requests, and cut off those that have not finished after `grace` seconds."""
        if self.app is not None:
            self.app.state.models.drain(grace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with the loaded application, or report that it is not loaded yet."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self.early(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        ending = asyncio.ensure_future(receive())
        try:
            app = await run_in_threadpool(self.load)
            async with app.router.lifespan_context(app):
                self.app = app
                self.ready()
                await ending
        except Exception as error:
            self.error = error
            self.failed()
            await ending
        await send({"type": "lifespan.shutdown.complete"})


async def _not_yet(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer while the model loads."""
    if scope["path"] == "/health":
        await send_json(send, 200, {"status": "loading"})
    else:
        await send_json(send, 503, error_body(503, "The model is still loading; try again soon.", "loading"))


class Server(uvicorn.Server):
    """An application on a port; `drain` receives the seconds that replies get to finish."""

    def __init__(self, app: ASGIApp, drain: Callable[[float], None], grace: int, log_level: str = "warning") -> None:
        patience = grace + LINGER
        config = uvicorn.Config(
            app, http=Protocol, log_level=log_level, server_header=False, timeout_graceful_shutdown=patience
        )
        super().__init__(config)
        self.drain, self.grace = drain, grace

    def end(self) -> None:
        """Request a shutdown."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no new requests, and wait for the running ones."""
        self.drain(self.grace)
        await super().shutdown(sockets)


def run_server(
    load: Callable[[], FastAPI], listening: socket.socket, grace: int, ready: Callable[[], None] = lambda: None
) -> None:
    """Serve the application that `load` makes until interrupted; raise the error of a failed load.

    `ready` is called once the application, and no longer the early answer, receives requests.
    """
    loading = Loading(load)
    loading.ready = ready
    server = Server(loading, loading.drain, grace)
    loading.failed = server.end
    with suppress(KeyboardInterrupt):
        _run(server, listening)
    if loading.error is not None:
        raise loading.error


def _run(server: Server, listening: socket.socket) -> None:
    """Run the server until it is interrupted; in a notebook, whose event loop is busy, run it in another thread."""

    def serve_all() -> None:
        asyncio.run(server.serve(sockets=[listening]))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        serve_all()
        return
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve_all)
        try:
            serving.result()
        except KeyboardInterrupt:
            server.end()
