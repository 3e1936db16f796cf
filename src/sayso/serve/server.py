"""The server that listens: from the moment it is told to end it takes nothing new, and lets what is on its way end.

First /ready and new requests are answered 503, then the port closes, replies get the grace to end, and those that have
not are cut; what was said of the page's replies is kept.
"""

import socket

import uvicorn
from fastapi import FastAPI


class Server(uvicorn.Server):
    """An application of `make_app` on a port; replies get `grace` seconds to end."""

    def __init__(self, app: FastAPI, grace: int, log_level: str = "warning") -> None:
        super().__init__(uvicorn.Config(app, log_level=log_level, server_header=False, timeout_graceful_shutdown=grace))
        self.worker = app.state.worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and wait."""
        self.worker.drain()
        await super().shutdown(sockets)
