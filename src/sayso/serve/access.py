"""Access control and security headers, in one place.

Every path but the page's own files, /health and /ready requires the key, if one is set. Without a key only this
machine's own host names are served, so that no web page can reach the server through a name of its own (DNS
rebinding). Bodies have a size limit. Pure ASGI: it never buffers a stream. It is the outermost layer of everything
that answers, so that a failure of any inner layer has the same shape and headers.
"""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sayso.serve.encode import to_json
from sayso.serve.errors import error_body, failure
from sayso.serve.worker import ClosingError

PUBLIC = frozenset({"/", "/page.css", "/page.js", "/health", "/ready"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused."""

    status: int
    message: str
    code: str


class AccessMiddleware:
    """ASGI middleware: checks host, origin, key and size of requests; adds security headers to responses."""

    def __init__(self, app: ASGIApp, key: str | None, body_limit: int) -> None:
        self.app = app
        self.key = key
        self.body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        began = False

        async def send_on(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message["headers"], *raw(HEADERS)]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, self._limited(receive), send_on)
            else:
                body = error_body(refusal.status, refusal.message, refusal.code)
                await send_json(send_on, refusal.status, body)
        except BaseException as error:  # the server that runs this logs it
            if not began and isinstance(error, Exception):
                await send_json(send_on, 500, failure(error))
            elif not began and isinstance(error, asyncio.CancelledError):  # the server is shutting down
                await send_json(send_on, 503, failure(ClosingError()))
            raise

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.key is None and _split(f"//{host}").hostname not in LOCAL:
            text = f"This server accepts only this machine's own host names; got the host '{host[:100]}'."
            return Refusal(403, f"{text} Start it with --api-key to accept other names.", "host_not_allowed")
        if origin is not None and (not host or _split(origin).netloc != host):
            return Refusal(403, "Pages of other origins may not use this server.", "origin_not_allowed")
        if self.key is not None and scope["path"] not in PUBLIC:
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode("latin-1"), self.key.encode()):
                return Refusal(
                    401, "This server requires the API key as 'Authorization: Bearer KEY'.", "invalid_api_key"
                )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > self.body_limit:
            return Refusal(413, self._too_large, "request_too_large")
        return None

    @property
    def _too_large(self) -> str:
        return f"A request body may have at most {self.body_limit} bytes."

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def receive_on() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.body_limit:
                raise HTTPException(413, self._too_large)
            return message

        return receive_on


def _split(address: str) -> SplitResult:
    """Return the parts of an address; an invalid address has no parts."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


async def send_json(send: Send, status: int, data: Mapping[str, Any]) -> None:
    """Send a complete response without calling the application."""
    body = to_json(data).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    elif status == 503:
        headers["retry-after"] = "5"
    await send({"type": "http.response.start", "status": status, "headers": raw(headers)})
    await send({"type": "http.response.body", "body": body})


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers in ASGI's form."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
