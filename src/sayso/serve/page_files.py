"""The page's own files, which everybody may read: index.html at `/`, scripts and styles under `/page/`.

The x-ray is a page of its own, at `/xray`, with its files under `/xray/`.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import Response

from sayso.xray.saved import linked

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


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
            body = (files(package) / "page" / name).read_bytes()
            app.add_api_route(path, _serve(linked(body) if path == "/xray" else body, name), include_in_schema=False)


def _serve(body: bytes, name: str):  # type: ignore[no-untyped-def]
    kind = KINDS[name.rpartition(".")[2]]

    mark = f'"{sha256(body).hexdigest()[:16]}"'
    headers = {"etag": mark, "cache-control": "no-cache"}  # kept, and asked for again only to see whether it changed

    async def serve(request: Request) -> Response:
        if mark in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return serve
