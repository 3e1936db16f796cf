"""Errors in OpenAI's format: `{"error": {message, type, param, code}}`.

Takes an invalid request, a `UserError` or an internal error; returns one JSON body, never a traceback or a path.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from sayso.base.errors import BrokenModelError, FieldError, UserError
from sayso.feedback.database import StoreError
from sayso.feedback.store import MissingError
from sayso.serve.encode import Json
from sayso.serve.problems import clip, first_problem
from sayso.serve.traffic import note_failed
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
    """Attach to a `UserError` the request field that it is about, unless it names one."""
    try:
        yield
    except UserError as error:
        field, text = error.field if isinstance(error, FieldError) else param, str(error)
        text = text if f"'{field}" in text else f"'{field}': {text}"  # formats of other APIs have only the message
        raise ApiError(400, text, "invalid_value", field) from error


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
    return anthropic_error(status, body["error"]["message"]) if is_anthropic(path) else body


def is_anthropic(path: str) -> bool:
    """Whether a path belongs to Anthropic's API."""
    name = path.rstrip("/").removeprefix("/v1")
    return name == "/messages" or name.startswith("/messages/")


def failure(error: Exception) -> dict[str, Any]:
    """Return the error body for an exception raised while a request was processed."""
    fields = _fields(error)
    if fields[0] >= 500:
        note_failed()
    return error_body(*fields)


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
        if isinstance(error, MissingError):
            return 404, str(error), "not_found", None
        if isinstance(error, BrokenModelError):
            return 500, str(error), "broken_model", None
        return 400, str(error), "invalid_value", error.field if isinstance(error, FieldError) else None
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
        return Json(_for(request, error_body(400, *first_problem(error.errors(), error.body)), 400), 400)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Json:
        method, path = request.method[:20], clip(request.url.path)
        allowed = (error.headers or {}).get("Allow", "another method")
        messages = {404: f"There is no route {method} {path}.", 405: f"{path} takes {allowed}; got {method}."}
        message = messages.get(error.status_code, str(error.detail))
        code = {408: "request_timeout", 413: "request_too_large"}.get(error.status_code)
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
