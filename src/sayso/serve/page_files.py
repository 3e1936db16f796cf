"""The page's own files, which everybody may read: index.html at `/`, scripts and styles under `/page/`."""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import Response

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@cache
def page_files() -> dict[str, str]:
    """Return the name of the file at each path."""
    names = sorted(file.name for file in (files("sayso.serve") / "page").iterdir())
    return {"/": "index.html"} | {f"/page/{name}": name for name in names if name.endswith((".js", ".css"))}


def add_page(app: FastAPI) -> None:
    """Add the routes of the files, which are held in memory."""
    for path, name in page_files().items():
        app.add_api_route(path, _serve(name), include_in_schema=False)


def _serve(name: str):  # type: ignore[no-untyped-def]
    body = (files("sayso.serve") / "page" / name).read_bytes()
    kind = KINDS[name.rpartition(".")[2]]

    async def serve() -> Response:
        return Response(body, media_type=kind)

    return serve
