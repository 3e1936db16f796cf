"""Errors in OpenAI's format: `{"error": {message, type, param, code}}`.

Takes an invalid request, a `UserError` or a bug; returns one JSON body, never a traceback or a path.
"""

import logging
from collections.abc import Iterator
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


def is_anthropic(request: Request) -> bool:
    """Whether a request is for one of Anthropic's routes, whose errors have another format."""
    return request.url.path.rstrip("/").endswith(("/messages", "/messages/count_tokens"))


def failure(error: Exception) -> dict[str, Any]:
    """Return the error body for an exception raised while a request was processed."""
    return error_body(*_told(error))


def status_of(error: Exception) -> int:
    """Return the HTTP status for an exception raised while a request was processed."""
    return _told(error)[0]


def _told(error: Exception) -> tuple[int, str, str | None, str | None]:
    """Return an error's status, message, code and field; a bug reveals nothing about itself."""
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
    """Install handlers that answer every expected error in this format; `access` answers all others."""

    @app.exception_handler(ApiError)
    @app.exception_handler(ClosingError)
    @app.exception_handler(UserError)
    async def expected(request: Request, error: Exception) -> Json:
        if isinstance(error, StoreError):
            _log.warning(str(error))
        status = _told(error)[0]
        headers = {"retry-after": "5"} if status in (429, 503) else None
        return Json(_for(request, failure(error), status), status, headers)

    @app.exception_handler(LeftError)
    async def left(_request: Request, _error: LeftError) -> Response:
        return Response(status_code=499)  # nginx's code; only for the log, because the client has gone

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Json:
        return Json(_for(request, error_body(400, *first_problem(error)), 400), 400)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Json:
        message = f"There is no {request.method} {request.url.path}." if error.status_code == 404 else str(error.detail)
        return Json(error_body(error.status_code, message), error.status_code)


def _for(request: Request, body: dict[str, Any], status: int) -> dict[str, Any]:
    """Return an error body in the format of the API that the request is for."""
    return anthropic_error(status, body["error"]["message"]) if is_anthropic(request) else body


def first_problem(error: RequestValidationError) -> tuple[str, str, str | None]:
    """Return the first error in a body: a sentence, OpenAI's code, and the name of the field."""
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return "The body must be JSON.", "invalid_json", None
    where = ".".join(str(part) for part in problem["loc"] if part != "body")
    if problem["type"] == "refused":
        found = problem["ctx"]
        return found["text"], found["code"], ".".join(filter(None, (where, str(found["param"]))))
    text = problem["msg"].removeprefix("Value error, ").removesuffix(".")
    got = problem.get("input")
    shown = f"; got {got!r}" if isinstance(got, int | float | str | bool) and len(repr(got)) <= 80 else ""
    return f"'{where}': {text}{shown}." if where else f"{text}.", "invalid_value", where or None
