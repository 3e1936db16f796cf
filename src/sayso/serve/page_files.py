"""The page's own files, which everybody may read: index.html at `/`, scripts and styles under `/page/`.

The x-ray is a page of its own, at `/xray`, with its files under `/xray/`.
"""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI
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

    async def serve() -> Response:
        return Response(body, media_type=kind)

    return serve
