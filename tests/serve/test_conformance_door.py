"""What every request and response has, whatever its route: key, address, ids, types, errors, CORS, metrics."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message, Scope

from sayso.base.errors import UserError
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.run.serve import Serve, origins_of
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.serve.server import Loading, Server
from sayso.serve.stream import event
from sayso.serve.worker import ClosingError, Worker

HERE = "http://127.0.0.1"
PAGE = "https://chat.example.org"
HELLO = [{"role": "user", "content": "hello"}]
SHORT = {"prompt": "cat", "max_tokens": 1}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 1},
    "/v1/completions": SHORT,
    "/v1/responses": {"input": "hello", "max_output_tokens": 1},
    "/v1/embeddings": {"input": "cat"},
    "/tokenize": {"prompt": "cat"},
    "/detokenize": {"tokens": [1]},
    "/api/messages": {"conversation_id": 1, "content": "hello"},
    "/api/replies": {"message_id": 1, "max_tokens": 1},
    "/api/ratings": {"kind": "thumb", "message_id": 1, "value": 1},
    "/api/signals": {"kind": "copied", "message_id": 1},
}


@pytest.fixture(scope="module")
def client(replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server without a key, shared by these tests."""
    store = Store(tmp_path_factory.mktemp("store") / "store.sqlite")
    with TestClient(make_app(replier, store, "tuned"), base_url=HERE, raise_server_exceptions=False) as client:
        yield client
    store.close()


@pytest.fixture(scope="module")
def locked(replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with the key "secret", whose pages may come from one other origin."""
    store = Store(tmp_path_factory.mktemp("locked") / "store.sqlite")
    app = make_app(replier, store, "tuned", key="secret", origins=[PAGE])
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client
    store.close()


@pytest.fixture
def fresh(app: FastAPI) -> Iterator[TestClient]:
    """A server that has answered nothing yet."""
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


# The key


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer secret"}, 200),
        ({"authorization": "bearer secret"}, 200),
        ({"authorization": "BEARER  secret "}, 200),
        ({"x-api-key": "secret"}, 200),
        ({"x-api-key": "secret", "authorization": "Bearer other"}, 200),
        ({"x-api-key": "other"}, 401),
        ({"x-api-key": ""}, 401),
        ({"authorization": "secret"}, 401),
        ({"authorization": " secret"}, 401),
        ({"authorization": "Basic secret"}, 401),
        ({"authorization": "Bearersecret"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({}, 401),
    ],
)
def test_a_key_is_sent_with_a_scheme_or_as_x_api_key(locked: TestClient, headers: dict[str, str], status: int) -> None:
    """The scheme's case does not matter (RFC 9110); credentials without a scheme are none."""
    response = locked.get("/v1/models", headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["code"] == "invalid_api_key"


# Addresses and methods


@pytest.mark.parametrize("path", ["/health/", "/ready//", "/v1/models/", "/tokenizer_info/", "/page/page.css/"])
def test_a_trailing_slash_is_ignored(client: TestClient, path: str) -> None:
    """Without a redirect, which some clients do not follow."""
    response = client.get(path, follow_redirects=False)
    assert response.status_code == 200
    assert response.content == client.get(path.rstrip("/")).content


def test_a_trailing_slash_of_a_public_path_needs_no_key(locked: TestClient) -> None:
    """Load balancers ask for /health/ too; nothing else becomes public by it."""
    assert locked.get("/health/").status_code == 200
    assert locked.head("/health").status_code == 200
    assert locked.get("/v1/models/").status_code == 401
    assert locked.get("/models").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/metrics", "/api/model"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    """The same status and headers."""
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_head_over_a_real_connection(address: str) -> None:
    """The connection stays usable, since no body follows."""
    with httpx2.Client(base_url=address, timeout=30) as client:
        assert client.head("/health").status_code == 200
        assert client.get("/health").json() == {"status": "ok"}
        assert client.head("/v1/completions").status_code == 405


@pytest.mark.parametrize("path", [path for path in BODIES if path.startswith("/v1/")])
def test_openais_routes_also_work_without_v1(client: TestClient, path: str) -> None:
    """For clients whose base URL lacks it."""
    response = client.post(path.removeprefix("/v1"), json=BODIES[path])
    assert response.status_code == 200
    assert response.json()["object"] == client.post(path, json=BODIES[path]).json()["object"]


def test_a_client_without_v1_in_its_base_url(client: TestClient) -> None:
    """OpenAI's own."""
    official = openai.OpenAI(api_key="none", base_url=HERE, http_client=client, max_retries=0)
    assert [model.id for model in official.models.list()] == ["tuned"]
    assert official.models.retrieve("tuned").id == "tuned"
    assert official.chat.completions.create(model="tuned", messages=HELLO, max_tokens=1).choices  # type: ignore[arg-type]


def test_other_addresses_get_no_v1(client: TestClient) -> None:
    """Only the routes under /v1 have another address."""
    for path in ("/v1/health", "/v1/tokenize", "/nothing", "/v1/nothing", "/v1", "/chats"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.json()["error"]["message"] == f"There is no route GET {path}."


# Request ids


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/completions", "/nothing", "/api/conversations/x"])
def test_every_response_has_a_request_id(client: TestClient, method: str, path: str) -> None:
    """A new one, or the client's own."""
    first, second = (client.request(method, path).headers["x-request-id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second
    response = client.request(method, path, headers={"x-request-id": "mine-1"})
    assert response.headers.get_list("x-request-id") == ["mine-1"]
    assert "request-id" not in response.headers


@pytest.mark.parametrize("path", ["/v1/messages", "/messages/", "/v1/messages/count_tokens", "/v1/messages/x"])
def test_anthropics_client_reads_the_request_id(client: TestClient, path: str) -> None:
    """Under the name of its own API, also when a request fails."""
    answer = client.post(path, json={}, headers={"x-request-id": "mine-1"})
    assert [answer.headers[name] for name in ("request-id", "x-request-id")] == ["mine-1", "mine-1"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "\u00e9", "a\tb"])
def test_an_unsafe_request_id_is_replaced(client: TestClient, given: str) -> None:
    """It would be repeated in a header and in the log."""
    sent = client.get("/health", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert re.fullmatch("[0-9a-f]{32}", sent.headers["x-request-id"])


def test_refusals_and_streams_have_a_request_id(locked: TestClient, official: openai.OpenAI) -> None:
    """Refused at the door, streamed, and as OpenAI's client reads it."""
    for headers in ({}, {"origin": "http://evil.example"}, {"x-api-key": "secret", "content-length": "x"}):
        response = locked.get("/v1/models", headers={"x-request-id": "mine", **headers})
        assert (response.status_code >= 400, response.headers["x-request-id"]) == (True, "mine")
    asked: dict[str, Any] = {"model": "tuned", "messages": HELLO, "max_tokens": 1}
    assert official.chat.completions.create(**asked, extra_headers={"X-Request-ID": "z"})._request_id == "z"
    stream = official.chat.completions.create(**asked, stream=True, extra_headers={"X-Request-ID": "s"})
    assert stream.response.headers["x-request-id"] == "s"
    assert list(stream)


def test_the_log_has_the_request_id(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """A failure once, with its traceback; every request at the level INFO, on one line."""

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("broken")

    with (
        TestClient(app, base_url=HERE, raise_server_exceptions=False) as client,
        caplog.at_level(logging.INFO, "sayso"),
    ):
        assert client.get("/fails", headers={"x-request-id": "mine-7"}).status_code == 500
        client.get("/x%0Aforged", headers={"x-request-id": "mine-8"})
    [failed] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failed.getMessage() == "Request mine-7 failed: GET /fails"
    assert failed.exc_info is not None
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert any(line.startswith("Request mine-8: GET /x%0Aforged 404 in ") for line in lines)
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("path", ["/health/", "/ready", "/v1/models"])
def test_a_server_that_loads_answers_in_the_same_shape(app: FastAPI, path: str) -> None:
    """Request ids, slashes and headers do not depend on the model."""

    async def ask() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"x-request-id", b"mine"), (b"host", b"127.0.0.1")]
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        await Loading(lambda: app)(scope, _nothing, send)
        return sent

    start, body = asyncio.run(ask())
    assert start["status"] == (200 if path == "/health/" else 503)
    assert (b"x-request-id", b"mine") in start["headers"]
    assert json.loads(body["body"])


# Bodies


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None, "application/xml"])
def test_a_body_of_another_content_type_is_named_as_such(client: TestClient, path: str, kind: str | None) -> None:
    """Not as a body that is not an object."""
    headers = {"content-type": kind} if kind else {}
    response = client.post(path, content=json.dumps(BODIES[path]).encode(), headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (415, "unsupported_content_type")
    assert "Content-Type: application/json" in error["message"]
    assert (kind or "none") in error["message"]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_content_types_are_read(client: TestClient, kind: str) -> None:
    """Parameters and case do not matter."""
    response = client.post("/v1/completions", content=json.dumps(SHORT), headers={"content-type": kind})
    assert response.status_code == 200


def test_an_absent_body_is_named_as_such(client: TestClient) -> None:
    """With and without a content type."""
    for headers in ({}, {"content-type": "application/json"}):
        error = client.post("/v1/completions", headers=headers).json()["error"]
        assert (error["message"], error["code"]) == ("The request needs a JSON body; got an empty one.", "invalid_json")


@pytest.mark.parametrize(
    ("path", "field", "value", "param"),
    [
        ("/v1/completions", "prompt", [1, True], "prompt[1]"),
        ("/v1/completions", "prompt", [[True]], "prompt[0][0]"),
        ("/v1/completions", "prompt", [1, 2.5], "prompt[1]"),
        ("/v1/completions", "n", True, "n"),
        ("/v1/completions", "max_tokens", "1", "max_tokens"),
        ("/v1/completions", "echo", "true", "echo"),
        ("/v1/completions", "echo", 1, "echo"),
        ("/v1/completions", "stop_token_ids", [True], "stop_token_ids[0]"),
        ("/v1/completions", "allowed_token_ids", ["1"], "allowed_token_ids[0]"),
        ("/v1/completions", "seed", True, "seed"),
        ("/v1/completions", "temperature", "1", "temperature"),
        ("/v1/completions", "temperature", True, "temperature"),
        ("/v1/completions", "logit_bias", {"1": "5"}, "logit_bias.1"),
        ("/v1/chat/completions", "top_p", "0.5", "top_p"),
        ("/v1/chat/completions", "logprobs", 1, "logprobs"),
        ("/v1/chat/completions", "top_logprobs", True, "top_logprobs"),
        ("/v1/chat/completions", "stream", "true", "stream"),
        ("/v1/responses", "max_output_tokens", "1", "max_output_tokens"),
        ("/v1/responses", "temperature", True, "temperature"),
        ("/v1/embeddings", "input", [True], "input[0]"),
        ("/v1/embeddings", "dimensions", "2", "dimensions"),
        ("/tokenize", "return_token_strs", 1, "return_token_strs"),
        ("/detokenize", "tokens", [True], "tokens[0]"),
        ("/detokenize", "tokens", ["1"], "tokens[0]"),
        ("/api/messages", "conversation_id", True, "conversation_id"),
        ("/api/messages", "conversation_id", "1", "conversation_id"),
        ("/api/replies", "message_id", True, "message_id"),
        ("/api/replies", "temperature", "1", "temperature"),
        ("/api/ratings", "message_id", True, "message_id"),
        ("/api/ratings", "value", True, "value"),
        ("/api/ratings", "value", "1", "value"),
    ],
)
def test_types_are_strict_and_errors_name_the_clients_field(
    client: TestClient, path: str, field: str, value: object, param: str
) -> None:
    """A boolean is no number and no id, a text is no number; the name is that of the body, not of the validator."""
    response = client.post(path, json=BODIES[path] | {field: value})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, "invalid_value")
    assert error["message"].startswith(f"'{param}' must be ")
    assert error["message"].endswith(f"; got {json.dumps(at(value))}.")


def at(value: object) -> object:
    """The wrong value itself, in lists and objects of others."""
    while isinstance(value, dict | list):
        value = list(value.values() if isinstance(value, dict) else value)[-1]
    return value


def test_a_whole_number_may_have_a_decimal_point(client: TestClient) -> None:
    """As in JSON Schema: 2.0 is an integer, 2.5 is none."""
    response = client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 2.0, "seed": 5.0, "temperature": 1})
    assert response.json()["usage"]["completion_tokens"] <= 2
    assert client.post("/v1/completions", json={"prompt": "cat", "max_tokens": 2.5}).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": [5, 6], "max_tokens": 1, "stop_token_ids": [7], "allowed_token_ids": [8]}),
        ("/v1/completions", {"prompt": [[5], [6]], "max_tokens": 1}),
        ("/v1/embeddings", {"input": [5, 6]}),
        ("/detokenize", {"tokens": [5, 6]}),
    ],
)
def test_whole_numbers_in_lists_may_have_a_decimal_point(client: TestClient, path: str, body: dict[str, Any]) -> None:
    """As alone: [2.0] is a list of integers, [2.5] is none."""
    texts = json.dumps(body)
    headers = {"content-type": "application/json"}
    for decimals, status in ((".0", 200), (".5", 400)):
        sent = re.sub(r"(?<=[\[ ])(\d)(?=[,\]])", rf"\1{decimals}", texts)
        assert decimals in sent
        assert client.post(path, content=sent, headers=headers).status_code == status


SHAPES = "must be a string, an array of strings, an array of integers or an array of arrays of integers; got 5."


@pytest.mark.parametrize(
    ("path", "change", "param", "message"),
    [
        ("/v1/completions", {"prompt": 5}, "prompt", SHAPES),
        ("/v1/completions", {"prompt": ["x", 5]}, "prompt[1]", "must be a string; got 5."),
        ("/v1/completions", {"n": True, "prompt": 5}, "n", "must be an integer; got true."),
        ("/v1/completions", {"stop": 5}, "stop", "must be a string or an array of strings; got 5."),
        ("/v1/responses", {"input": 5}, "input", "must be a string or an array; got 5."),
        (
            "/v1/responses",
            {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
            "text.format.name",
            "must match the pattern ^[a-z",
        ),
        ("/api/ratings", {"kind": "clap"}, "kind", 'must be "thumb", "rating", "edit", "choice", "tag" or "comment"'),
        ("/api/ratings", {"kind": None}, "kind", 'must be "thumb", "rating", "edit", "choice", "tag" or "comment"'),
        ("/api/ratings", {"value": 2}, "value", "must be at most 1; got 2."),
        ("/api/ratings", {"kind": "edit", "value": 2}, "text", "'text' is required."),
        ("/api/conversations/x", {}, "conversation_id", 'must be an integer; got "x"'),
    ],
)
def test_an_error_names_the_field_that_the_client_sent(
    client: TestClient, path: str, change: dict[str, Any], param: str, message: str
) -> None:
    """Types of a union, tags and functions of the validator are no part of the name."""
    body = BODIES.get(path, {}) | change
    response = client.post(path, json=body) if path in BODIES else client.get(path)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert message in error["message"]


LONG = "qz" * 1500


def long_variants(value: Any) -> Iterator[Any]:
    """Yield a JSON value with one of its parts, or a new key, replaced by a long text."""
    yield LONG
    yield [LONG]
    yield {LONG: LONG}
    if isinstance(value, dict):
        for name, part in value.items():
            yield from ({**value, name: one} for one in long_variants(part))
        yield {**value, LONG: 1}
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], one, *value[place + 1 :]] for one in long_variants(part))


NESTED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "max_tokens": 1,
        "model": "tuned",
        "stop": ["x"],
        "logit_bias": {"1": 1},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    },
    "/v1/completions": SHORT | {
        "structured_outputs": {"grammar": 'root ::= "x"'}, "bad_words": ["x"], "dry_sequence_breakers": ["x"]
    },
    "/v1/responses": {
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "max_output_tokens": 1,
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "$ref": "#/$defs/a"}}},
        "include": ["message.output_text.logprobs"],
        "metadata": {"a": "b"},
    },
    "/v1/embeddings": {"input": ["cat"], "encoding_format": "float", "model": "tuned"},
    "/tokenize": {"messages": HELLO},
    "/detokenize": {"tokens": [1], "model": "tuned"},
    "/api/messages": BODIES["/api/messages"],
    "/api/ratings": {"kind": "choice", "chosen_id": 1, "rejected_id": 2, "better": True, "position": "left"},
}  # fmt: skip


@pytest.mark.parametrize("path", NESTED)
def test_an_error_repeats_at_most_200_characters(client: TestClient, path: str) -> None:
    """Wherever a long text is in the body: as a value, a key, or in the place of another type."""
    refused = 0
    for body in long_variants(NESTED[path]):
        response = client.post(path, json=body)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            refused += 1
            error = response.json()["error"]
            assert LONG[:201] not in response.text, (path, error["message"][:300])
            assert LONG[1:202] not in response.text, (path, error["message"][:300])
    assert refused > 3


def test_long_addresses_and_headers_are_not_repeated(client: TestClient) -> None:
    """The path, the host, the origin, the content type."""
    for response in (
        client.get(f"/{LONG}"),
        client.get(f"/v1/models/{LONG}"),
        client.get(f"/api/conversations/{LONG}"),
        client.get("/health", headers={"host": LONG}),
        client.get("/health", headers={"origin": f"http://{LONG}"}),
        client.post("/v1/completions", content=b"x", headers={"content-type": LONG}),
        client.request(LONG, "/health"),
    ):
        assert response.status_code >= 400
        assert LONG[:201] not in response.text


# Events


def test_no_line_reader_splits_an_event(client: TestClient) -> None:
    """U+2028, U+2029 and U+0085 end a line for `str.splitlines` and many readers: they are escaped."""
    text = "a\u2028b\u2029c\x85d\x0b\x0c\x1c\x1d\x1ee"
    assert len(event({"text": text}).splitlines()) == 2
    echoed = client.post("/v1/completions", json={"prompt": text, "echo": True, "stream": True, "max_tokens": 1}).text
    chunks = [json.loads(line[6:]) for line in echoed.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks).startswith(text)
    body = {"input": "hello", "instructions": text, "stream": True, "max_output_tokens": 1}
    lines = client.post("/v1/responses", json=body).text.splitlines()
    assert all(not line or line.startswith(("event: ", "data: ")) for line in lines)
    created = json.loads(next(line[6:] for line in lines if line.startswith("data: ")))
    assert created["response"]["instructions"] == text


# CORS


def test_a_page_of_an_allowed_origin_may_use_the_server(locked: TestClient) -> None:
    """The preflight carries no key; the request does; errors are readable too."""
    asks = {"origin": PAGE, "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-stainless-os"}  # fmt: skip
    preflight = locked.options("/v1/chat/completions", headers=asks)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == asks["access-control-request-headers"]
    for key, status in (("secret", 200), ("other", 401)):
        response = locked.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {key}"})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in response.headers["access-control-expose-headers"]
        assert response.headers["vary"] == "origin"


def test_pages_of_other_origins_stay_refused(locked: TestClient, client: TestClient) -> None:
    """Also their preflights; by default, those of every origin."""
    for server, origin in ((locked, "https://evil.example"), (locked, f"{PAGE}.evil.example"), (client, PAGE)):
        for method in ("OPTIONS", "GET"):
            headers = {"origin": origin, "access-control-request-method": "GET", "authorization": "Bearer secret"}
            response = server.request(method, "/v1/models", headers=headers)
            assert response.status_code == 403
            assert "--allow-origin" in response.json()["error"]["message"]
            assert "access-control-allow-origin" not in response.headers
    assert "vary" not in client.get("/health").headers
    for headers in ({"origin": PAGE}, {"access-control-request-method": "GET"}):  # no preflights
        assert locked.options("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://chat.example.org", "https://chat.example.org"),
        ("HTTP://LocalHost:3000/", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_an_allowed_origin_is_compared_as_browsers_send_it(given: str, kept: str) -> None:
    """In lower case, without a trailing slash."""
    assert origins_of(Serve(allow_origin=(given,))) == {kept}


@pytest.mark.parametrize("given", ["*", "chat.example.org", "https://a.org/page", "null", "", "https://", "http://a b"])
def test_what_is_no_origin_is_refused(given: str) -> None:
    """A path, a bare name, and everything at once."""
    with pytest.raises(UserError, match="--allow-origin takes an origin such as"):
        origins_of(Serve(allow_origin=(PAGE, given)))


# Shutdown


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_a_request_that_is_cancelled_gets_503_and_no_traceback(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The server cancels what still runs after its grace period."""
    waiting = threading.Event()

    @app.get("/waits")
    async def waits() -> None:
        waiting.set()
        await asyncio.sleep(60)

    async def ask() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {"type": "http", "method": "GET", "path": "/waits", "query_string": b"",
                        "headers": [(b"host", b"127.0.0.1")]}  # fmt: skip
        task = asyncio.ensure_future(app(scope, _nothing, send))
        while not waiting.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await task
        return sent

    start, body = asyncio.run(ask())
    error = json.loads(body["body"])["error"]
    assert (start["status"], error["code"], error["type"]) == (503, "closing", "server_error")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_requests_that_the_end_of_the_server_cuts_get_503(
    replier: Replier, store: Store, hook: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    """A reply, a stream's start, embeddings that wait for the model: OpenAI's shape at once, and nothing logged."""
    app = make_app(replier, store, "tuned", engine=Engine(replier.model, rows=2))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(30)

    hook(app.state.models.main.worker.engine, hold)
    server = Server(app, app.state.models.drain, grace=0, log_level="error")
    bodies = {
        "/v1/completions": {"prompt": "cat", "max_tokens": 50},
        "/v1/responses": {"input": "hello"},
        "/v1/embeddings": {"input": "cat"},
    }
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"{HERE}:{listening.getsockname()[1]}"

        with httpx2.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(len(bodies)) as pool:
            asked = {}
            for path, body in bodies.items():
                asked[path] = pool.submit(client.post, path, json=body)
                held.wait(30)  # the first one, which holds the model for the others
            while app.state.models.main.worker.load < len(bodies):
                client.get("/health")
            server.end()
            answers = {path: future.result(60) for path, future in asked.items()}
        go.set()
        thread.join()
    for path, answer in answers.items():
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "closing"), path
        assert answer.headers["retry-after"]
    logged = capfd.readouterr().err
    assert "Traceback" not in logged
    assert "Cancel " not in logged  # uvicorn did not have to


def test_a_call_of_the_model_that_is_cut_ends_as_closing(replier: Replier) -> None:
    """As a reply does."""

    async def ask() -> None:
        worker, go = Worker(Engine(replier.model), 1), threading.Event()
        calls = [asyncio.ensure_future(worker.call(lambda: go.wait(30))) for _ in range(2)]
        await asyncio.sleep(0)
        worker.drain(0)
        for call in calls:
            with pytest.raises(ClosingError):
                await call
        assert worker.load == 0
        go.set()
        worker.close()

    asyncio.run(ask())


# Metrics


def samples(client: TestClient) -> dict[str, float]:
    """Return the metrics of the model by name and labels."""
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name.replace('model_name="tuned"', "").replace("{}", "").replace("{,", "{")] = float(value)
    return found


def test_the_metrics_of_vllm_are_there(fresh: TestClient) -> None:
    """Sizes, settings and phases of requests are counted once for each prompt or reply."""
    words = {"prompt": "the cat sat on the mat. " * 10, "temperature": 0, "max_tokens": 5, "n": 2}
    for _ in range(2):
        assert fresh.post("/v1/completions", json=words).status_code == 200
    size = fresh.post("/tokenize", json={"prompt": words["prompt"]}).json()["count"]
    found = samples(fresh)
    for name, count, total in (
        ("request_prompt_tokens", 4, 4 * size),
        ("request_generation_tokens", 4, 20),
        ("request_max_num_generation_tokens", 2, 10),
        ("request_params_max_tokens", 4, 20),
        ("request_params_n", 2, 4),
    ):
        assert (found[f"vllm:{name}_count"], found[f"vllm:{name}_sum"]) == (count, total), name
    for name in ("queue_time", "prefill_time", "decode_time", "inference_time", "time_per_output_token"):
        assert found[f"vllm:request_{name}_seconds_count"] == 4, name
    phases = [found[f"vllm:request_{name}_time_seconds_sum"] for name in ("prefill", "decode", "inference")]
    assert phases[0] + phases[1] == pytest.approx(phases[2])
    cached, computed = (
        found[f'vllm:prompt_tokens_by_source_total{{source="{name}"}}'] for name in ("local_cache_hit", "local_compute")
    )
    assert 0 < cached == found["vllm:prompt_tokens_cached_total"]
    assert cached + computed == found["vllm:prompt_tokens_total"] == 4 * size
    assert found["vllm:request_prefill_kv_computed_tokens_sum"] == computed
    assert found["vllm:iteration_tokens_total_sum"] == computed + 4 * 4  # the first token comes with the prompt
    assert any(name.startswith("vllm:cache_config_info{") for name in found)
    assert not any("spec_decode" in name or "lora" in name for name in found)


def test_refused_requests_are_counted(fresh: TestClient, app: FastAPI) -> None:
    """By vLLM's reason for a full queue."""
    app.state.models.main.worker.limit = -(10**6)
    assert fresh.post("/v1/completions", json=SHORT).status_code == 429
    assert samples(fresh)['vllm:admission_rejections_total{reason="max_num_queued_reqs"}'] == 1


def test_speculation_is_counted(replier: Replier, store: Store) -> None:
    """Proposals, their tokens, and accepted ones by position, which add up."""
    app = make_app(replier, store, "tuned", engine=Engine(replier.model, speculate=3, draft=replier.model))
    with TestClient(app, base_url=HERE) as client:
        body = {"prompt": "the cat", "temperature": 0, "max_tokens": 40}
        assert client.post("/v1/completions", json=body).status_code == 200
        found = samples(client)
    drafts, tokens, accepted = (
        found[f"vllm:spec_decode_num_{name}_total"] for name in ("drafts", "draft_tokens", "accepted_tokens")
    )
    assert 0 < drafts <= tokens <= 3 * drafts
    by_place = [
        found[f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{position="{place}"}}'] for place in range(3)
    ]
    assert accepted == sum(by_place)
    assert min(by_place) > 0
    assert by_place == sorted(by_place, reverse=True)
