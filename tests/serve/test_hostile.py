"""Requests that nobody means well: every answer has the one shape and the security headers, and none is a failure."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.feedback.store import Store
from sayso.serve.envelope import HEADERS
from sayso.serve.page_files import page_files, xray_files

HUGE = [2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, -1, -(2**63) - 1, 0]
TEXTS = ["\ud800", "a\udfffb", "\x00", "", "\u2028", "x" * 3000, "é", "[", "http://["]
OTHERS: list[Any] = [
    None,
    True,
    1.5,
    1e308,
    -0.0,
    [],
    {},
    [[]],
    [None],
    {"\ud800": 1},
    [{"type": "\ud800"}],
    ["\ud800"],
]
ANYTHING = [*HUGE, *TEXTS, *OTHERS]
PAGE = {*page_files(), *xray_files()}
HELLO = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 2},
    "/v1/completions": {"prompt": "cat", "max_tokens": 2},
    "/v1/responses": {"input": "hello", "max_output_tokens": 2},
    "/v1/embeddings": {"input": "cat"},
    "/tokenize": {"prompt": "cat"},
    "/detokenize": {"tokens": [1]},
    "/api/messages": {"conversation_id": 1, "content": "hello"},
    "/api/replies": {"message_id": 1, "max_tokens": 2},
    "/api/stop": {"generation": "x"},
    "/api/xray": {"panel": "map", "text": "cat", "where": {"first": 0}},
    "/api/ratings": {"kind": "thumb", "message_id": 2, "value": 1},
    "/api/signals": {"kind": "copied", "message_id": 2},
    "/api/comparisons": {"replies": [2, 3]},
}


@pytest.fixture
def client(app: FastAPI, store: Store) -> Iterator[TestClient]:
    said = store.say(store.new_conversation().id, "hello")
    assert said.id == 1
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def check(answer: Any, what: object) -> None:
    """An answer is no failure of the server, has the headers once, and is of the one shape where it is an error."""
    assert answer.status_code < 500, (what, answer.text)
    kept = {"cache-control": "no-cache"} if answer.is_success and answer.url.path in PAGE else {}
    for name, value in (HEADERS | kept).items():
        assert answer.headers.get_list(name) == [value], (what, name)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, what
        assert error["message"], what
    elif answer.headers["content-type"].startswith("text/event-stream"):
        told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        assert told, what


def send(client: TestClient, path: str, body: Any) -> None:
    """Send a body and check the answer."""
    content = json.dumps(body)
    check(client.post(path, content=content, headers={"content-type": "application/json"}), (path, content[:300]))


def fields(app: FastAPI, path: str) -> list[str]:
    """Return the names of a body's fields."""
    schema = app.openapi()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = [schema["$ref"]] if "$ref" in schema else [one["$ref"] for one in schema["oneOf"]]
    schemas = app.openapi()["components"]["schemas"]
    return sorted({field for name in names for field in schemas[name.rpartition("/")[2]]["properties"]})


@pytest.mark.parametrize("path", BODIES)
def test_any_value_in_any_field_is_answered_or_refused(client: TestClient, app: FastAPI, path: str) -> None:
    """Numbers that no machine word holds, half surrogates, other kinds of values: a few to each field, by a seed."""
    draw = random.Random(7)
    for field in fields(app, path):
        for value in draw.sample(ANYTHING, 4):
            send(client, path, BODIES[path] | {field: value})


FIELDS = [
    ("/v1/chat/completions", "messages", [{"role": "user", "content": [{"type": "\ud800"}]}]),
    ("/v1/chat/completions", "messages", [{"role": "user", "content": "\ud800"}]),
    ("/v1/chat/completions", "messages", [{"role": "\ud800", "content": "x"}]),
    ("/v1/chat/completions", "messages", [{"role": "user", "content": "x", "\ud800": 1}]),
    ("/v1/chat/completions", "\ud800", 1),
    ("/v1/chat/completions", "model", "\ud800"),
    ("/v1/chat/completions", "stop", ["\ud800"]),
    ("/v1/chat/completions", "response_format", {"\ud800": 1}),
    ("/v1/chat/completions", "logit_bias", {"9" * 5000: 1}),
    ("/v1/chat/completions", "logit_bias", {"\ud800": 1}),
    ("/v1/chat/completions", "tools", [{"type": "function", "function": {"name": "\ud800"}}]),
    ("/v1/chat/completions", "structured_outputs", {"choice": ["\ud800"]}),
    ("/v1/chat/completions", "structured_outputs", {"json": {"properties": {"\ud800": {}}}}),
    ("/v1/completions", "prompt", [2**63]),
    ("/v1/completions", "stop_token_ids", [2**63]),
    ("/v1/responses", "input", [{"type": "\ud800"}]),
    ("/v1/responses", "input", [{"role": "user", "content": "x", "\ud800": 1}]),
    ("/v1/responses", "instructions", "\ud800"),
    ("/v1/responses", "metadata", {"\ud800": "\udfff"}),
    ("/v1/embeddings", "input", "\ud800"),
    ("/tokenize", "prompt", "\ud800"),
    ("/detokenize", "tokens", [2**63]),
    ("/api/messages", "content", "\ud800"),
    ("/api/messages", "conversation_id", 2**63),
    ("/api/replies", "message_id", 2**63),
    ("/api/ratings", "message_id", 2**63),
    ("/api/ratings", "kind", "\ud800"),
    ("/api/stop", "generation", "\ud800"),
]


@pytest.mark.parametrize(("path", "field", "value"), FIELDS)
@pytest.mark.parametrize("stream", [False, True])
def test_what_no_text_and_no_number_can_hold_is_answered_or_refused(
    client: TestClient, path: str, field: str, value: Any, stream: bool
) -> None:
    """Each was met in the wild, whole and in a stream."""
    streams = {"stream": True} if stream and path.startswith("/v1/") and path != "/v1/embeddings" else {}
    send(client, path, BODIES[path] | {field: value} | streams)


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30, "x", -1])
def test_an_id_that_no_row_has_is_not_found(client: TestClient, number: int | str) -> None:
    """In the address of a route too."""
    for method in ("GET", "DELETE", "POST"):
        answer = client.request(method, f"/api/conversations/{number}")
        check(answer, (method, number))
        assert answer.status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "["},
        {"host": "[::1"},
        {"host": "]"},
        {"host": ""},
        {"host": "localhost:x"},
        {"host": "\u00b2"},
        {"origin": "http://["},
        {"origin": "http://[::1"},
        {"origin": ""},
        {"origin": "\u2100"},
        {"content-length": "\u00b2"},
        {"content-length": "9" * 5000},
        {"content-length": "-1"},
        {"authorization": "\u00ff"},
        {"content-type": "application/json; charset=\u00ff"},
        {"content-type": "multipart/form-data"},
        {"accept": "\u00ff"},
    ],
)
def test_any_header_is_answered_or_refused(client: TestClient, headers: dict[str, str]) -> None:
    """Hosts, origins and lengths that cannot be read are strangers, and no failure."""
    raw = [
        (name.encode(), value.encode("utf-8" if value == "\u2100" else "latin-1")) for name, value in headers.items()
    ]
    for method, path in (("GET", "/"), ("GET", "/v1/models"), ("POST", "/v1/completions"), ("PUT", "/nothing")):
        check(client.request(method, path, headers=raw, content=b"{}"), (method, path))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b'"\xed\xa0\x80"', b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"NaN", b"null", b"[]",
        b'{"prompt": "x", "prompt": "y"}', b"\xef\xbb\xbf{}", '{"prompt": "x"}'.encode("utf-16"),
    ],
    ids=lambda content: content[:8].hex(),
)  # fmt: skip
def test_any_bytes_are_answered_or_refused(client: TestClient, content: bytes) -> None:
    """Also what is no JSON, no UTF-8, and too deep to read."""
    for path in BODIES:
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            check(client.post(path, content=content, headers={"content-type": kind}), (path, kind))


def test_a_failure_has_the_shape_and_the_headers_too(app: FastAPI) -> None:
    """The door is outside of all that can fail."""

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("broken")

    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.get("/fails")
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert all(answer.headers[name] == value for name, value in HEADERS.items())


def test_a_grammar_that_would_end_the_process_is_refused(client: TestClient) -> None:
    """One sentence that names the field, wherever a schema or grammar may stand."""
    definitions: dict[str, Any] = {f"d{place}": {"items": {"$ref": f"#/$defs/d{place + 1}"}} for place in range(890)}
    schema = {"$ref": "#/$defs/d0", "$defs": definitions | {"d890": {"type": "null"}}}
    rules = "start: r0\n" + "".join(f"r{place}: r{place + 1}\n" for place in range(2700)) + 'r2700: "a"\n'
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"response_format": form}),
        ("/v1/chat/completions", {"structured_outputs": {"json": schema}}),
        ("/v1/chat/completions", {"structured_outputs": {"grammar": rules}}),
        ("/v1/chat/completions", {"structured_outputs": {"grammar": f"start: %json {json.dumps(schema)}"}}),
        ("/v1/chat/completions", {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}),
        ("/v1/completions", {"structured_outputs": {"grammar": rules.replace(":", " ::=").replace("start", "root")}}),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}),
    ]
    for path, more in bodies:
        answer = client.post(path, json=BODIES[path] | more)
        check(answer, (path, *more))
        assert answer.status_code == 400, (path, *more)
        assert "chain" in answer.json()["error"]["message"], answer.text
