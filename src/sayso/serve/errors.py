"""Errors in OpenAI's format: `{"error": {message, type, param, code}}`.

Takes an invalid request, a `UserError` or an internal error; returns one JSON body, never a traceback or a path.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from sayso.base.errors import UserError
from sayso.feedback.schema import StoreError
from sayso.feedback.store import MissingError
from sayso.serve.encode import Json
from sayso.serve.worker import ClosingError

_log = logging.getLogger(__name__)

MOST_ECHOED = 200  # characters of a client's text that an error may repeat
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that cannot be answered, with its HTTP status and OpenAI's fields."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


class LeftError(Exception):
    """The client has disconnected; nobody reads the response."""


@contextmanager
def naming(param: str) -> Iterator[None]:
    """Attach to a `UserError` the request field that it is about."""
    try:
        yield
    except UserError as error:
        raise ApiError(400, str(error), "invalid_value", param) from error


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's format."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Return an error in the format of Anthropic's API."""
    kinds = {**TYPES, 413: "request_too_large", 503: "overloaded_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def in_format_of(path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    """Return an error body in the format of the API that a path belongs to."""
    name = path.rstrip("/").removeprefix("/v1")
    anthropic = name == "/messages" or name.startswith("/messages/")
    return anthropic_error(status, body["error"]["message"]) if anthropic else body


def failure(error: Exception) -> dict[str, Any]:
    """Return the error body for an exception raised while a request was processed."""
    return error_body(*_fields(error))


def status_of(error: Exception) -> int:
    """Return the HTTP status for an exception raised while a request was processed."""
    return _fields(error)[0]


def _fields(error: Exception) -> tuple[int, str, str | None, str | None]:
    """Return an error's status, message, code and field; an internal error reveals no details."""
    if isinstance(error, ApiError):
        return error.status, error.message, error.code, error.param
    if isinstance(error, ClosingError):
        return 503, "The server is shutting down; this reply was cut off.", "closing", None
    if isinstance(error, StoreError):
        return (507, str(error), "store_full", None) if error.full else (503, str(error), "store_unavailable", None)
    if isinstance(error, UserError):
        return 404 if isinstance(error, MissingError) else 400, str(error), None, None
    return 500, "The server failed on this request; see its log.", None, None


def add_handlers(app: FastAPI) -> None:
    """Install handlers that answer every expected error in this format; `envelope` answers all others."""

    @app.exception_handler(ApiError)
    @app.exception_handler(ClosingError)
    @app.exception_handler(UserError)
    async def expected(request: Request, error: Exception) -> Json:
        if isinstance(error, StoreError):
            _log.warning(str(error))
        status = _fields(error)[0]
        headers = {"retry-after": "5"} if status in (429, 503) else None
        return Json(_for(request, failure(error), status), status, headers)

    @app.exception_handler(LeftError)
    async def left(_request: Request, _error: LeftError) -> Response:
        return Response(status_code=499)  # nginx's code; only for the log, because the client has gone

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Json:
        if (kind := _other_content_type(request)) is not None:
            text = f"The body must be JSON, sent with 'Content-Type: application/json'; got {kind}."
            return Json(_for(request, error_body(415, text, "unsupported_content_type"), 415), 415)
        return Json(_for(request, error_body(400, *first_problem(error)), 400), 400)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Json:
        method, path = request.method[:20], clip(request.url.path)
        messages = {404: f"There is no {method} {path}.", 405: f"{method} is not allowed for {path}."}
        message = messages.get(error.status_code, str(error.detail))
        code = None
        if message == "There was an error parsing the body":  # FastAPI's, for bytes that are not JSON text
            message, code = "The body must be JSON, in UTF-8 and not nested too deeply.", "invalid_json"
        body = error_body(error.status_code, message, code)
        return Json(_for(request, body, error.status_code), error.status_code, error.headers)


def _other_content_type(request: Request) -> str | None:
    """Return the content type of a body that is not JSON, quoted or as "none"; None for JSON and without a body."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return None
    sent = request.headers.get("content-type")
    if sent is None:
        return "none"
    kind = sent.partition(";")[0].strip().lower()
    is_json = kind.startswith("application/") and (kind == "application/json" or kind.endswith("+json"))
    return None if is_json else f"'{clip(sent)}'"


def _for(request: Request, body: dict[str, Any], status: int) -> dict[str, Any]:
    """Return an error body in the format of the API that the request is for."""
    return in_format_of(request.url.path, body, status)


def first_problem(error: RequestValidationError) -> tuple[str, str, str | None]:
    """Return the first error in a body: a sentence, OpenAI's code, and the name of the field."""
    problem, where, text = _clearest(error)
    if problem["type"] == "json_invalid":
        return "The body must be JSON.", "invalid_json", None
    if problem["type"] == "missing" and not where:
        return "The request needs a JSON body; got an empty one.", "invalid_json", None
    if problem["type"] == "refused":
        found = problem["ctx"]
        return found["text"], found["code"], ".".join(filter(None, (where, str(found["param"]))))
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        field, tags = problem["ctx"]["discriminator"].strip("'"), problem["ctx"].get("expected_tags")
        where, text = ".".join(filter(None, (where, field))), f"must be one of {tags}" if tags else "is required"
        return f"'{where}' {text}.", "invalid_value", where
    got = problem.get("input")
    shown = f"; got {got!r}" if isinstance(got, int | float | str | bool) and len(repr(got)) <= 80 else ""
    return f"'{where}': {text}{shown}." if where else f"{text}.", "invalid_value", where or None


def _clearest(error: RequestValidationError) -> tuple[Mapping[str, Any], str, str]:
    """Return the problem to report, the path of its field in the client's body, and a sentence.

    A value that fits none of the types of a field is a problem for each of them: reported is the type that fits
    furthest, or all of them if none fits better.
    """
    places = [(_place(problem, error.body), problem) for problem in error.errors()]
    (path, _), first = places[0]
    of_types: dict[tuple[Any, ...], tuple[tuple[Any, ...], Mapping[str, Any]]] = {}
    for (place, kind), problem in places:
        if kind is not None and place[:1] == path[:1]:
            of_types.setdefault(kind, (place, problem))
    if len(of_types) < 2:
        return first, _joined(path), _sentence(first)
    furthest = max((place for place, _ in of_types.values()), key=lambda place: [len(place), *map(str, place)])
    best = [problem for place, problem in of_types.values() if place == furthest]
    texts = list(dict.fromkeys(_sentence(problem) for problem in best))
    others = [text.removeprefix("Input should be ") for text in texts[1:]]
    return best[0], _joined(furthest), " or ".join([texts[0], *others])


def _place(problem: Mapping[str, Any], body: Any) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return the path of a problem's field as the client sent it, and the type among several that it is about.

    pydantic's location also names the type that was tried; such parts are not in the body.
    """
    source, *parts = problem["loc"] or ("body",)
    if source != "body" or body is None:
        return tuple(part for part in problem["loc"] if part not in ("body", "path", "query")), None
    path: list[Any] = []
    kind, value = None, body
    for place, part in enumerate(parts):
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
        elif problem["type"] == "missing" and place == len(parts) - 1:
            path.append(part)
        elif kind is None:
            kind = tuple(parts[: place + 1])
    return tuple(path), kind


def _joined(path: Sequence[Any]) -> str:
    return clip(".".join(map(str, path)))


def _sentence(problem: Mapping[str, Any]) -> str:
    return str(problem["msg"]).removeprefix("Value error, ").removesuffix(".")


def clip(text: str) -> str:
    """Return a client's text cut to the length that an error may repeat."""
    return text if len(text) <= MOST_ECHOED else f"{text[: MOST_ECHOED - 3]}..."
