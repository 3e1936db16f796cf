"""The server that listens: it answers before its model is loaded, and lets what is on its way end when it is to end.

While the model loads, /health is alive and all else is told 503. Told to end, it answers /ready and new requests 503,
closes the port, gives replies a grace, and cuts those that have not ended; what was said on the page is kept.
"""

import asyncio
import json
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from sayso.serve.errors import error_body


class Loading:
    """An ASGI application that becomes another one when that is loaded."""

    def __init__(self, load: Callable[[], FastAPI]) -> None:
        """Take what makes an application of `make_app`; it is called in a thread when the server has started."""
        self.load = load
        self.app: FastAPI | None = None
        self.error: Exception | None = None
        """What went wrong with loading: then the server ends."""
        self.failed: Callable[[], None] = lambda: None

    def drain(self) -> None:
        """Take nothing new from now on."""
        if self.app is not None:
            self.app.state.worker.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the loaded application, or that it is not there yet."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _not_yet(scope, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        ending = asyncio.ensure_future(receive())
        try:
            app = await run_in_threadpool(self.load)
            async with app.router.lifespan_context(app):
                self.app = app
                await ending
        except Exception as error:
            self.error = error
            self.failed()
            await ending
        await send({"type": "lifespan.shutdown.complete"})


async def _not_yet(scope: Scope, send: Send) -> None:
    alive = scope["path"] == "/health"
    told = {"status": "loading"} if alive else error_body(503, "The model is being loaded; try again soon.", "loading")
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [] if alive else [(b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 200 if alive else 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server(uvicorn.Server):
    """An application on a port; replies get `grace` seconds to end after `drain` was called."""

    def __init__(self, app: ASGIApp, drain: Callable[[], None], grace: int, log_level: str = "warning") -> None:
        super().__init__(uvicorn.Config(app, log_level=log_level, server_header=False, timeout_graceful_shutdown=grace))
        self.drain = drain

    def end(self) -> None:
        """Ask it to end."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and wait."""
        self.drain()
        await super().shutdown(sockets)
