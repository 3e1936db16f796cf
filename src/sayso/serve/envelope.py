"""Common to all responses: security headers, a request id, and JSON in OpenAI's format when a request fails.

Pure ASGI, outermost of all layers: it never buffers a stream, and a failure of any inner layer has the same shape,
headers and line in the log. No `Exception` leaves it.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sayso.serve.encode import to_json
from sayso.serve.errors import failure, in_format_of, is_anthropic
from sayso.serve.traffic import PROGRESS, Progress, Traffic
from sayso.serve.worker import ClosingError

_log = logging.getLogger(__name__)
_SANE_ID = re.compile(r"[!-~]{1,128}")  # printable ASCII without blanks: safe in a header and in a line of a log
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


class Envelope:
    """ASGI middleware that adds the headers, and answers and logs failures.

    Pages of the given `origins` may read the responses (CORS). `traffic` counts the requests.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = (), traffic: Traffic | None = None) -> None:
        self.app, self.origins, self.traffic = app, frozenset(origins), traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and complete its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given, status, started = headers_of(scope), 0, time.perf_counter()
        name = request_id(given)
        ids = {"x-request-id": name} | ({"request-id": name} if is_anthropic(scope["path"]) else {})
        scope.setdefault("state", {})["request_id"] = name
        added = HEADERS | ids | self._cors(given.get("origin"))
        shown = f"{scope['method'][:20]} {quote(scope['path'])[:200]}"
        PROGRESS.set(progress := Progress())

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}  # such as how long a file of the page may be kept
                message = {
                    **message,
                    "headers": [*message["headers"], *(one for one in raw(added) if one[0] not in own)],
                }
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except asyncio.CancelledError:  # the server is shutting down and waits no longer
            if not status:
                await send_json(send_on, 503, in_format_of(scope["path"], failure(ClosingError()), 503))
        except Exception as error:
            _log.exception("Request %s failed: %s", name, shown)
            if not status:
                await send_json(send_on, 500, in_format_of(scope["path"], failure(error), 500))
        if self.traffic is not None:
            self.traffic.count(scope["method"], scope["path"], status, progress)
        _log.info("Request %s: %s %d in %.3f s", name, shown, status, time.perf_counter() - started)

    def _cors(self, origin: str | None) -> dict[str, str]:
        """Return the headers that let a page of an allowed origin read the response."""
        if not self.origins:
            return {}
        if origin is None or origin not in self.origins:
            return {"vary": "origin"}
        readable = "x-request-id, request-id, retry-after"
        return {
            "vary": "origin", "access-control-allow-origin": origin, "access-control-expose-headers": readable
        }  # fmt: skip


def request_id(headers: Mapping[str, str]) -> str:
    """Return the client's own id of a request if it is at most 128 printable ASCII characters, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by lower-case name; the last one wins if a name is repeated."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def send_json(send: Send, status: int, data: Mapping[str, Any], retry: int | None = None) -> None:
    """Send a complete response without calling the application; `retry`: seconds after which to repeat the request."""
    body = to_json(data).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    elif status == 503:
        headers["retry-after"] = "5"
    if retry is not None:
        headers["retry-after"] = str(retry)
    await send({"type": "http.response.start", "status": status, "headers": raw(headers)})
    await send({"type": "http.response.body", "body": body})


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers in ASGI's form."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
