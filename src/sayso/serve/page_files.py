"""The page's own files, which everybody may read: index.html at `/`, scripts and styles under `/page/`.

Its scripts and styles are sent without comments and needless spaces; the package has them as they were written. The
x-ray is a page of its own, at `/xray`, with its files under `/xray/`, which are sent as they are.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import Response
from rcssmin import cssmin
from rjsmin import jsmin

from sayso.xray.saved import linked

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
SHORTENED = {"css": cssmin, "js": jsmin}


@cache
def page_files() -> dict[str, str]:
    """Return the name of the file at each path."""
    names = sorted(file.name for file in (files("sayso.serve") / "page").iterdir())
    return {"/": "index.html"} | {f"/page/{name}": name for name in names if name.endswith((".js", ".css"))}


@cache
def xray_files() -> dict[str, str]:
    """Return the name of the x-ray's file at each path."""
    names = sorted(file.name for file in (files("sayso.xray") / "page").iterdir())
    return {"/xray": "index.html"} | {f"/xray/{name}": name for name in names if name.endswith((".js", ".css"))}


def add_page(app: FastAPI) -> None:
    """Add the routes of the files, which are held in memory."""
    for package, paths in (("sayso.serve", page_files()), ("sayso.xray", xray_files())):
        for path, name in paths.items():
            body = _short(name) if package == "sayso.serve" else (files(package) / "page" / name).read_bytes()
            app.add_api_route(path, _serve(linked(body) if path == "/xray" else body, name), include_in_schema=False)


@cache
def _short(name: str) -> bytes:
    """Return a file of the page as it is sent. A template literal within another would lose its spaces."""
    text = (files("sayso.serve") / "page" / name).read_text("utf-8")
    shorten = SHORTENED.get(name.rpartition(".")[2])
    return (shorten(text) if shorten else text).encode()


def _serve(body: bytes, name: str):  # type: ignore[no-untyped-def]
    kind = KINDS[name.rpartition(".")[2]]

    mark = f'"{sha256(body).hexdigest()[:16]}"'
    headers = {"etag": mark, "cache-control": "no-cache"}  # kept, and asked for again only to see whether it changed

    async def serve(request: Request) -> Response:
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return serve
