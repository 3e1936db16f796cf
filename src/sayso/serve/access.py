"""Access control: the API key, the host and origin of a request, and the size of its body.

Every path but the page's own files, /health and /ready requires the key, if one is set. Without a key only this
machine's own host names are served, so that no web page can reach the server through a DNS name of its choice (DNS
rebinding). Pages of other origins are refused unless their origin is allowed. Pure ASGI: it never buffers a stream.
"""

import hmac
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sayso.serve.envelope import headers_of, raw, send_json
from sayso.serve.errors import error_body, in_format_of
from sayso.serve.problems import clip

PUBLIC = frozenset({"/", "/page.css", "/page.js", "/health", "/ready"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADER_NAMES = re.compile(r"[\w, -]{0,2000}", re.ASCII)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused."""

    status: int
    message: str
    code: str


class AccessMiddleware:
    """ASGI middleware that checks host, origin, key and size of requests, and answers CORS preflights."""

    def __init__(
        self,
        app: ASGIApp,
        key: str | None,
        body_limit: int,
        origins: Collection[str] = (),
        admin_key: str | None = None,
    ) -> None:
        self.app, self.key, self.body_limit, self.origins = app, key, body_limit, frozenset(origins)
        self.admitted = [one.encode() for one in (key, admin_key) if one is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = headers_of(scope)
        refusal = self._stranger(headers)
        if refusal is None and self._is_preflight(scope, headers):
            await _send_preflight(send, headers)
            return
        refusal = refusal or self._without_key(scope, headers) or self._too_large(headers)
        if refusal is None:
            await self.app(scope, self._limited(receive), send)
        else:
            body = error_body(refusal.status, refusal.message, refusal.code)
            await send_json(send, refusal.status, in_format_of(scope["path"], body, refusal.status))

    def _stranger(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuse a host or origin that may not use this server."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.key is None and _split(f"//{host}").hostname not in LOCAL:
            text = f"This server accepts only this machine's own host names; got the host '{clip(host)}'."
            return Refusal(403, f"{text} Start it with --api-key to accept other names.", "host_not_allowed")
        own = origin is None or (host and _split(origin).netloc == host)
        if not own and origin not in self.origins:
            text = f"Pages of the origin '{clip(origin or '')}' may not use this server."
            return Refusal(403, f"{text} Start it with --allow-origin URL to allow an origin.", "origin_not_allowed")
        return None

    def _is_preflight(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        asks = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        return asks and headers.get("origin") in self.origins

    def _without_key(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        if self.key is None or scope["path"] in PUBLIC:
            return None
        given = [one.encode("latin-1") for one in keys_of(headers)]
        if any(hmac.compare_digest(one, key) for one in given for key in self.admitted):
            return None
        text = "This server requires the API key as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'."
        return Refusal(401, text, "invalid_api_key")

    def _too_large(self, headers: Mapping[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > self.body_limit:
            return Refusal(413, self._limit, "request_too_large")
        return None

    @property
    def _limit(self) -> str:
        return f"A request body may have at most {self.body_limit} bytes."

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def receive_on() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.body_limit:
                raise HTTPException(413, self._limit)
            return message

        return receive_on


def keys_of(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the API keys that a request sends."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield credentials.strip()
    if "x-api-key" in headers:
        yield headers["x-api-key"].strip()


async def _send_preflight(send: Send, headers: Mapping[str, str]) -> None:
    """Answer a CORS preflight of an allowed origin, which carries no key."""
    wanted = headers.get("access-control-request-headers", "")
    allowed = {
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": wanted if _HEADER_NAMES.fullmatch(wanted) else "authorization, content-type",
        "access-control-max-age": "600",
    }
    await send({"type": "http.response.start", "status": 204, "headers": raw(allowed)})
    await send({"type": "http.response.body", "body": b""})


def _split(address: str) -> SplitResult:
    """Return the parts of an address; an invalid address has no parts."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
