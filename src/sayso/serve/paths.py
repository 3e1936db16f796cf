"""Other spellings of a route's address: a trailing slash, HEAD for GET, OpenAI's routes without /v1."""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/v1/"


class PathAliases:
    """ASGI middleware that rewrites a request to the address and method of its route.

    `names` are the first parts of the routes under /v1 that are also served without it.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str] = frozenset()) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the rewritten request on."""
        if scope["type"] == "http":
            method = "GET" if scope["method"] == "HEAD" else scope["method"]  # the server omits the body of a HEAD
            scope = {**scope, "path": self._route(scope["path"]), "method": method}
        await self.app(scope, receive, send)

    def _route(self, path: str) -> str:
        path = path.rstrip("/") or "/"
        return PREFIX[:-1] + path if path[1:].partition("/")[0] in self.names else path


def names_under_v1(routers: Iterable[APIRouter]) -> frozenset[str]:
    """Return the first part of each route under /v1, such as "chat" for /v1/chat/completions."""
    paths = [route.path for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return frozenset(path.removeprefix(PREFIX).partition("/")[0] for path in paths if path.startswith(PREFIX))
