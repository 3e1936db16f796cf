"""A client of any server with OpenAI's API, by the standard library alone.

Takes a path and a JSON body, returns the JSON reply, or yields the events of one that is streamed. A busy or failing
server is asked again a few times; all that goes wrong in the end is a `UserError` of one sentence, which never contains
the key.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from itertools import count
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sayso.base.errors import UserError
from sayso.text.document import Messages

KEY = "SAYSO_ENDPOINT_KEY"
"""The environment variable with the key of servers, if none is given."""
_BUSY = frozenset((408, 429, 500, 502, 503, 504, 529))  # 529: overloaded, of some providers
_LONGEST_WAIT = 60.0  # seconds between two attempts
_MOST_BYTES = 64 << 20  # of a reply
_SHOWN = 200  # characters of a server's message in an error
_FAILURES = (OSError, HTTPException, UnicodeError)  # the last one is a host name that cannot be encoded


@dataclass(frozen=True)
class Endpoint:
    """A model behind an address; thread-safe. Raises `UserError` for an address that is not of HTTP."""

    base_url: str
    """Address that the paths are added to; that of OpenAI's API ends in /v1."""
    model: str
    key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; None = `SAYSO_ENDPOINT_KEY` of the environment, or none."""
    timeout: float = 120.0
    """Seconds for the whole of one attempt."""
    retries: int = 4
    """Further attempts after HTTP 408, 429 and 5xx and after a broken connection."""
    wait: Callable[[float], object] = field(default=time.sleep, repr=False)
    """Waits for a number of seconds between attempts."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or not _printable(self.base_url):
            raise UserError(f"An endpoint must be an address such as http://127.0.0.1:8000/v1; got '{self.base_url}'.")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UserError(f"An endpoint's address must end with its path and contain no key; give the key in {KEY}.")
        if not _printable(self._secret):
            raise UserError(f"An endpoint's key must be printable ASCII without spaces; check {KEY}.")
        if not 0 < self.timeout < math.inf or self.retries < 0:
            raise UserError(
                f"A timeout must be positive and retries 0 or more; got {self.timeout:g} and {self.retries}."
            )

    def chat(self, messages: Messages, **settings: Any) -> str:
        """Return the text of the reply to a conversation; arguments and errors as in `reply`."""
        return self.reply(messages, **settings)[0]

    def reply(self, messages: Messages, **settings: Any) -> tuple[str, bool]:
        """Return the reply to a conversation, "" if it has no text, and whether it ended before the length limit.

        `settings` are further fields of the request, such as temperature and max_tokens. Errors as in `post`.
        """
        body = {"model": self.model, "messages": [dict(message) for message in messages], **settings}
        answer = self.post("/chat/completions", body)
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise self._error("does not have choices[0].message.content in its reply") from None
        if text is not None and not isinstance(text, str):
            raise self._error("has a reply whose content is not text")
        return text or "", choice.get("finish_reason") != "length"

    def complete(self, prompt: str, **settings: Any) -> str:
        """Return the continuation of a prompt as plain text; arguments and errors as in `reply`."""
        answer = self.post("/completions", {"model": self.model, "prompt": prompt, **settings})
        try:
            text = answer["choices"][0]["text"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise self._error("does not have choices[0].text in its reply")
        return text

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON object that the server replies to a JSON body at a path such as "/completions".

        Raises `UserError` if the server cannot be reached, takes too long, refuses the request, or replies with
        anything else, after `retries` if that may help.
        """
        for attempt in count():
            try:
                return self._object(self._attempt(path, body))
            except _FAILURES as error:
                said, again = self._told(error)
                seconds = _seconds(error.headers.get("Retry-After")) if isinstance(error, HTTPError) else None
            seconds = 0.5 * 2**attempt if seconds is None else seconds
            if not again or attempt == self.retries or seconds > _LONGEST_WAIT:
                raise self._error(said)
            self.wait(seconds)
        raise AssertionError

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path such as "/models", in one attempt. Errors as in `post`."""
        try:
            return self._object(self._attempt(path))
        except _FAILURES as error:
            raise self._error(self._told(error)[0]) from None

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects that the server sends as events in reply to a body, in one attempt.

        `timeout` is the longest silence. Closing the iterator closes the connection. Raises `UserError` as `post` does,
        and if the stream ends without OpenAI's last event, "[DONE]".
        """
        try:
            with self._open(path, body, "text/event-stream") as reply:
                if (kind := reply.headers.get_content_type()) != "text/event-stream":
                    raise self._error(
                        f"replied with {_short(kind)} instead of a stream of events; check the address, which usually "
                        "ends in /v1"
                    )
                while line := reply.readline(_MOST_BYTES):
                    name, _, data = line.partition(b":")
                    if name != b"data":
                        continue
                    if data.strip() == b"[DONE]":
                        return
                    yield self._event(data)
        except _FAILURES as error:
            raise self._error(self._told(error)[0]) from None
        raise self._error("broke off its reply")

    def _event(self, data: bytes) -> dict[str, Any]:
        """Return the object of an event. Raises `UserError` for one that reports an error."""
        found = self._object(data)
        if (problem := found.get("error")) is not None:
            said = problem.get("message", problem) if isinstance(problem, dict) else problem
            raise self._error(f"broke off its reply ('{_short(said)}')")
        return found

    def _attempt(self, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of a reply. Raises `TimeoutError` if it is not complete in time."""
        end = time.monotonic() + self.timeout
        with self._open(path, body, "application/json") as reply:
            return _read(reply, end)

    def _open(self, path: str, body: Mapping[str, Any] | None, kind: str) -> HTTPResponse:
        """Return a reply of this kind whose body is still to be read."""
        headers = {"Content-Type": "application/json", "Accept": kind, "User-Agent": "sayso"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.base_url.rstrip("/") + path, data, headers)
        try:
            return cast(HTTPResponse, build_opener(_NoRedirects).open(request, timeout=self.timeout))
        except HTTPError:
            raise
        except URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else error from error

    def _told(self, error: BaseException) -> tuple[str, bool]:
        """Return what went wrong in words, and whether another attempt may help."""
        if isinstance(error, HTTPError):
            return _refusal(error), error.code in _BUSY
        if isinstance(error, TimeoutError):
            return f"did not reply within {self.timeout:g} seconds", False
        if isinstance(error, ConnectionResetError | BrokenPipeError | HTTPException):
            return f"broke the connection ({_reason(error)})", True
        return f"cannot be reached ({_reason(error)})", False

    def _object(self, data: bytes) -> dict[str, Any]:
        if len(data) > _MOST_BYTES:
            raise self._error(f"sent more than {_MOST_BYTES >> 20} MiB")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise self._error(f"did not reply with JSON but with '{_short(data.decode(errors='replace'))}'") from None
        if not isinstance(found, dict):
            raise self._error("did not reply with a JSON object")
        return found

    @property
    def _secret(self) -> str:
        return os.environ.get(KEY, "") if self.key is None else self.key

    def _error(self, said: str) -> UserError:
        text = said.replace(self._secret, "...") if self._secret else said
        return UserError(f"The server at '{self.base_url}' {text}.")


class _NoRedirects(HTTPRedirectHandler):
    """Refuses redirects, which would send the key to another address, and the body nowhere."""

    def redirect_request(self, *_: Any) -> None:
        """Return None: the redirect becomes an `HTTPError`."""


def _read(reply: HTTPResponse, end: float) -> bytes:
    """Return the body of a reply, if it is complete at the time `end` of the monotonic clock."""
    parts, size = list[bytes](), 0
    while size <= _MOST_BYTES and (part := reply.read1(1 << 16)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError
    if reply.length and size <= _MOST_BYTES:
        raise IncompleteRead(b"", reply.length)
    return b"".join(parts)


def _refusal(error: HTTPError) -> str:
    """Return what the server said, with a hint for frequent mistakes; close the reply."""
    try:
        with error:
            data = error.read(1 << 16)
    except (OSError, HTTPException):
        data = b""
    try:
        found = json.loads(data)
        inside = found.get("error", found)
        message = inside.get("message", inside) if isinstance(inside, dict) else inside
    except (ValueError, RecursionError, AttributeError):
        message = data.decode(errors="replace")
    hint = f"; check the key in {KEY}" if error.code in (401, 403) else ""
    if error.code == 404:
        hint = "; check the address, which usually ends in /v1, and the name of the model"
    if 300 <= error.code < 400:
        hint = f"; use the address that it redirects to, '{_short(error.headers.get('Location'))}'"
    said = f" ('{_short(message)}')" if message else ""
    return f"replied with HTTP {error.code}{said}{hint}"


def _seconds(text: str | None) -> float | None:
    """Return the seconds to wait of a Retry-After header, a number or a date; None if it has neither."""
    try:
        return max(0.0, float(int(text or "")))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _short(value: object) -> str:
    """Return a server's text on one line without control characters, and the beginning of a long one."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).strip().rstrip(".")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _reason(error: BaseException) -> str:
    return _short(getattr(error, "strerror", None) or error or type(error).__name__)


def _printable(text: str) -> bool:
    return all(32 < ord(c) < 127 for c in text)
