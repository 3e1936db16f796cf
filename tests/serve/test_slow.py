"""Clients that are slow, on real connections: one that never ends its request, and one that never reads."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest

from sayso.serve import access, protocol
from sayso.serve.server import Server

ASK = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    """A connection to a server."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    read = b""
    while piece := connection.recv(65536):
        read += piece
    return read


def check_refused(answer: bytes, says: str) -> None:
    """The answer is one error of the usual shape."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"x-content-type-options: nosniff" in head
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == ("request_timeout", "invalid_request_error")
    assert says in error["message"]


@pytest.mark.parametrize(
    "pieces", [[b"GET /health HT"], [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X-A: 1\r\n"]]
)
def test_headers_that_do_not_end_are_refused(
    start: Callable[..., str], monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    """The time runs from the beginning of the request, however many pieces come."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.4)
    with connected(start(rows=1)) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)
        check_refused(rest(connection), "within 0.4 seconds")


def test_the_headers_of_a_later_request_have_the_limit_too(
    start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection that was answered before; and an answered one is not refused afterwards."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    with connected(start(rows=1)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(0.7)
        connection.sendall(b"GET /health HT")
        check_refused(rest(connection), "headers of a request")


def test_a_connection_that_says_nothing_is_closed(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer: a browser opens some in advance."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.2)
    with connected(start(rows=1)) as connection:
        assert rest(connection) == b""


def test_a_body_that_does_not_end_is_refused(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time of a body of its size."""
    monkeypatch.setattr(access, "BODY_SECONDS", 0.3)
    with connected(start(rows=1)) as connection:
        connection.sendall(ASK + b'Content-Length: 100\r\n\r\n{"prompt": ')
        check_refused(rest(connection), "within 0.3 seconds; got 11 bytes of it")


def test_a_large_body_may_take_longer(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it arrives at the least rate."""
    monkeypatch.setattr(access, "BODY_SECONDS", 0.3)
    body = b'{"prompt": "the cat", "max_tokens": 1' + b" " * 2000 + b"}"
    with connected(start(rows=1)) as connection:
        connection.sendall(ASK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1500])
        time.sleep(0.6)
        connection.sendall(body[1500:])
        assert rest(connection).startswith(b"HTTP/1.1 200")


def test_a_reply_may_take_longer_than_its_request(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits end where the request is complete."""
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.01)
    monkeypatch.setattr(access, "BODY_SECONDS", 0.01)
    body = {"prompt": "the cat", "max_tokens": 300, "temperature": 0}
    reply = httpx2.post(start(rows=1) + "/v1/completions", json=body, timeout=60)
    assert reply.json()["usage"]["completion_tokens"] == 300


def test_a_client_that_never_reads_is_left(
    start: Callable[..., str], servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection ends, and with it the reply: the next one gets the only row."""
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.2)
    address = start(rows=1)
    assert httpx2.get(address + "/health").status_code == 200
    for listening in servers[0].servers[0].sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # inherited by its connections
    fields = {"prompt": "the cat", "max_tokens": 4000, "temperature": 0, "stream": True, "logprobs": 5}
    body = json.dumps(fields).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", int(address.rpartition(":")[2])))
    with connection:
        connection.sendall(ASK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        deadline = time.monotonic() + 60
        while not servers[0].server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        while (open_now := len(servers[0].server_state.connections)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_now == 0
        reply = httpx2.post(address + "/v1/completions", json={"prompt": "the cat", "max_tokens": 2}, timeout=60)
        assert reply.status_code == 200
        assert b"[DONE]" not in rest(connection)
