"""The server that listens: it answers before its model is loaded, and lets what is on its way end when it is to end.

While the model loads, /health is alive and all else is told 503. Told to end, it answers /ready and new requests 503,
closes the port, gives replies a grace, and cuts those that have not ended, which their streams say as an error; what
was said on the page is kept.
"""

import asyncio
import json
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from sayso.serve.access import HEADERS, raw, send_json
from sayso.serve.errors import error_body

LINGER = 3  # seconds after replies were cut in which their readers are told so


class Loading:
    """An ASGI application that becomes another one when that is loaded."""

    def __init__(self, load: Callable[[], FastAPI]) -> None:
        """Take what makes an application of `make_app`; it is called in a thread when the server has started."""
        self.load = load
        self.app: FastAPI | None = None
        self.error: Exception | None = None
        """What went wrong with loading: then the server ends."""
        self.failed: Callable[[], None] = lambda: None

    def drain(self, grace: float | None = None) -> None:
        """Take nothing new from now on, and cut what has not ended after `grace` seconds."""
        if self.app is not None:
            self.app.state.worker.drain(grace)

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

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] += raw(HEADERS)
        await send(message)

    await send_json(send_on, 200 if alive else 503, told)


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """HTTP as uvicorn speaks it, whose answer to what is no HTTP looks like every other error."""

    transport: asyncio.Transport

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that never become a request for the application, and close the connection."""
        body = json.dumps(error_body(400, msg, "invalid_request")).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | HEADERS).items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{lines}\r\n".encode() + body)
        self.transport.close()


class Server(uvicorn.Server):
    """An application on a port; `drain` is told how many seconds replies get to end."""

    def __init__(self, app: ASGIApp, drain: Callable[[float], None], grace: int, log_level: str = "warning") -> None:
        patience = grace + LINGER
        config = uvicorn.Config(
            app, http=Protocol, log_level=log_level, server_header=False, timeout_graceful_shutdown=patience
        )
        super().__init__(config)
        self.drain, self.grace = drain, grace

    def end(self) -> None:
        """Ask it to end."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and wait."""
        self.drain(self.grace)
        await super().shutdown(sockets)
