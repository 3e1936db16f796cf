"""The connection of a client: what uvicorn speaks, with Sayso's errors, and limits for clients that are slow.

Without limits, a few hundred connections that send a byte now and then, or never read, use up a server (Slowloris).
The limit on the body is in `access`.
"""

import asyncio
import json

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from sayso.serve.envelope import HEADERS, request_id
from sayso.serve.errors import error_body

HEADER_SECONDS = 30.0
"""Within which the first line and the headers of a request must arrive."""
STALL_SECONDS = 60.0
"""For which a client may leave unread what it was sent."""


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP, with the same errors as everywhere for bytes that are not HTTP, and with limits of time."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the limits."""
        super().connection_lost(exc)
        self._cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes; while they are not yet a request, the time for its headers runs."""
        super().data_received(data)
        self._begun = self.cycle is None or self.cycle.response_complete
        if not self._begun and self._late is not None:
            self._late.cancel()
            self._late = None
        elif self._begun and self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        """Leave the client unless it reads something within the time."""
        left = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() < left:
                self._wait_for_reader()
            else:
                self.transport.abort()

        self._stalled = self.loop.call_later(STALL_SECONDS, look)

    def resume_writing(self) -> None:
        """Write on; the client has read."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that never become a request for the application, and close the connection."""
        self._refuse("400 Bad Request", msg, "invalid_request")

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._begun:
            text = f"The headers of a request must arrive within {HEADER_SECONDS:g} seconds."
            self._refuse("408 Request Timeout", text, "request_timeout")
        else:  # nothing was sent: a browser that opened a connection in advance expects no answer
            self.transport.close()

    def _refuse(self, status: str, message: str, code: str) -> None:
        body = json.dumps(error_body(int(status[:3]), message, code)).encode()
        headers = HEADERS | {"x-request-id": request_id({}), "content-type": "application/json"}
        headers |= {"content-length": str(len(body)), "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
        self.transport.close()

    def _cancel(self) -> None:
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
