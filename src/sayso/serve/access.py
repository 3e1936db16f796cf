"""Access control: the key of a request and its role, its host and origin, and the size and the time of its body.

Every path but the page's own files, /health and /ready requires a key, if there is one. Without keys only this
machine's own host names are served, so that no web page can reach the server through a DNS name of its choice (DNS
rebinding). Pages of other origins are refused unless their origin is allowed. Pure ASGI: it never buffers a stream.
"""

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sayso.feedback.keys import Role
from sayso.serve.envelope import headers_of, raw, send_json
from sayso.serve.errors import error_body, in_format_of
from sayso.serve.keyring import Admitted, Keyring
from sayso.serve.page_files import page_files, xray_files
from sayso.serve.problems import clip

PUBLIC = frozenset({*page_files(), *xray_files(), "/health", "/ready"})
ADMIN = frozenset({"/v1/load_lora_adapter", "/v1/unload_lora_adapter"})
PAGE = "/api/"  # the page's own routes, which show all conversations
PAGE_ADMIN = "/api/admin/"  # those that start acts and move aliases
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
BODY_SECONDS, BODY_RATE = 60.0, 1000
"""Seconds that a body may take, and bytes that add one more second."""
_HEADER_NAMES = re.compile(r"[\w, -]{0,2000}", re.ASCII)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused."""

    status: int
    message: str
    code: str
    retry: int | None = None
    """Seconds after which the request may be repeated."""


class AccessMiddleware:
    """ASGI middleware that checks host, origin, key and size of requests, and answers CORS preflights."""

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        body_limit: int,
        origins: Collection[str] = (),
    ) -> None:
        self.app, self.keyring, self.body_limit, self.origins = app, keyring, body_limit, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = headers_of(scope)
        await self.keyring.refresh()
        refusal = self._stranger(headers)
        if refusal is None and self._is_preflight(scope, headers):
            await _send_preflight(send, headers)
            return
        refusal = refusal or self._without_right(scope, headers) or self._too_large(headers)
        if refusal is None:
            await self.app(scope, self._limited(receive), send)
        else:
            body = error_body(refusal.status, refusal.message, refusal.code)
            body = in_format_of(scope["path"], body, refusal.status)
            await send_json(send, refusal.status, body, refusal.retry)

    def _stranger(self, headers: Mapping[str, str]) -> Refusal | None:
        """Refuse a host or origin that may not use this server."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.keyring.closed and _split(f"//{host}").hostname not in LOCAL:
            text = f"This server accepts only this machine's own host names; got the host '{clip(host)}'."
            return Refusal(
                403, f"{text} Start it with --api-key, or add a key, to accept other names.", "host_not_allowed"
            )
        own = origin is None or (host and _split(origin).netloc == host)
        if not own and origin not in self.origins:
            text = f"Pages of the origin '{clip(origin or '')}' may not use this server."
            return Refusal(403, f"{text} Start it with --allow-origin URL to allow an origin.", "origin_not_allowed")
        return None

    def _is_preflight(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        asks = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        return asks and headers.get("origin") in self.origins

    def _without_right(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Refuse a request without the role that its route needs, or whose key has used up its requests."""
        needed = role_needed(scope["path"])
        if needed is None:
            return None
        found = self.keyring.find(keys_of(headers))
        if found is None and self.keyring.closed:
            text = "This server requires an API key as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'."
            return Refusal(401, text, "invalid_api_key")
        if needed == "admin" and not self.keyring.has_admin and (self.keyring.closed or scope["path"] in ADMIN):
            what = "Adapters can be changed" if scope["path"] in ADMIN else "This can be done"
            text = f"{what} only with an admin key; start the server with --admin-key, or add a key with"
            return Refusal(403, f"{text} 'sayso keys add NAME --role admin'.", "no_admin_key")
        if found is None and needed == "admin" and self.keyring.has_admin:
            return Refusal(401, "This route requires an admin key as 'Authorization: Bearer KEY'.", "invalid_api_key")
        return self._unless_in_turn(scope, found, needed) if found is not None else None

    def _unless_in_turn(self, scope: Scope, found: Admitted, needed: Role) -> Refusal | None:
        if not found.may(needed):
            text = f"This route requires a key with the role '{needed}'; this one has the role '{found.role}'."
            return Refusal(403, text, "insufficient_role")
        if wait := self.keyring.wait(found):
            text = f"This key may send {found.per_minute} requests per minute; try again in {wait} seconds."
            return Refusal(429, text, "rate_limit_exceeded", wait)
        scope.setdefault("state", {}).update(key_id=found.id, key_name=found.name)
        return None

    def _too_large(self, headers: Mapping[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > self.body_limit:
            return Refusal(413, self._limit, "request_too_large")
        return None

    @property
    def _limit(self) -> str:
        return f"A request body may have at most {self.body_limit} bytes."

    def _limited(self, receive: Receive) -> Receive:
        """Return a `receive` that refuses a body that is too large or arrives too slowly."""
        seen, complete, begun = 0, False, asyncio.get_running_loop().time()

        async def receive_on() -> Message:
            nonlocal seen, complete
            if complete:  # the next message is the client's disconnect, which has no time limit
                return await receive()
            try:
                async with asyncio.timeout_at(begun + BODY_SECONDS + seen / BODY_RATE):
                    message = await receive()
            except TimeoutError as error:
                text = f"The body of a request must arrive within {BODY_SECONDS:g} seconds; got {seen} bytes of it."
                raise HTTPException(408, text, {"connection": "close"}) from error
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > self.body_limit:
                raise HTTPException(413, self._limit)
            return message

        return receive_on


def role_needed(path: str) -> Role | None:
    """Return the role that the route of a path needs; None for those that are open to everybody."""
    if path in PUBLIC:
        return None
    if path in ADMIN or path.startswith(PAGE_ADMIN):
        return "admin"
    return "rater" if path.startswith(PAGE) else "user"


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
