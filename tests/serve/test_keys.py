"""Keys and roles: who gets to which route, how often, and how soon a change takes effect."""

import logging
import re
from typing import Any

import anthropic
import openai
import pytest
from fastapi.testclient import TestClient
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sayso.feedback.database import StoreError
from sayso.feedback.keys import ROLES, Keys, Role
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.access import PUBLIC, AccessMiddleware, role_needed
from sayso.serve.app import make_app
from sayso.serve.envelope import send_json
from sayso.serve.keyring import Admitted, Keyring

HERE = "http://127.0.0.1"
NEEDED: dict[Role, set[str]] = {
    "user": {
        "/v1/models", "/v1/models/1", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses",
        "/v1/responses/input_tokens", "/v1/messages", "/v1/messages/count_tokens", "/v1/rerank", "/v1/score",
        "/tokenize", "/detokenize", "/tokenizer_info", "/apply-template", "/version", "/metrics", "/openapi.json",
    },
    "rater": {
        "/api/model", "/api/conversations", "/api/conversations/1", "/api/messages", "/api/replies", "/api/stop",
        "/api/ratings", "/api/xray", "/api/xray/models",
        "/api/signals", "/api/comparisons", "/api/changes", "/api/versions",
        "/api/conversations/1/export",
        "/api/runs", "/api/runs/1", "/api/curves", "/api/jobs/1",
        "/api/models", "/api/models/1",
        "/api/diagnose/samples", "/api/diagnose/samples/1", "/api/diagnose/samples/1/conversations/1",
        "/api/diagnose/samples/1/readings", "/api/diagnose/samples/1/notes", "/api/diagnose/samples/1/rates",
        "/api/diagnose/samples/1/categories/1/detector", "/api/diagnose/notes", "/api/diagnose/notes/1",
        "/api/diagnose/groups", "/api/diagnose/categories", "/api/diagnose/categories/1", "/api/diagnose/cases",
        "/api/watch", "/api/watch/replies", "/api/watch/reply", "/api/watch/drift", "/api/watch/trials", "/api/flags",
        "/api/rate", "/api/rate/take", "/api/rate/compare", "/api/rate/write", "/api/rate/check", "/api/rate/skip",
        "/api/rate/undo", "/api/rate/summary", "/api/rate/results",
    },
    "admin": {
        "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
        "/api/admin/acts", "/api/admin/jobs", "/api/admin/jobs/1/stop",
        "/api/admin/runs/1/stop", "/api/admin/runs/1/resume",
        "/api/admin/aliases/1/rollback",
        "/api/admin/rate/guidelines", "/api/admin/rate/prompts", "/api/admin/rate/pairs", "/api/admin/rate/replies",
    },
}  # fmt: skip
"""Every route that is not open to everybody, with the role that it needs; a new route must be added here."""


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server read its keys before every request."""
    monkeypatch.setattr("sayso.serve.keyring.FRESH", 0.0)


@pytest.fixture
def roles(store: Store) -> dict[Role, str]:
    """A key of each role."""
    return {role: Keys(store).add(role, role)[1] for role in ROLES}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def routes(app: Any) -> set[str]:
    """All paths of an application, also those that its description leaves out."""
    paths = {*app.openapi()["paths"]} | {route.path for route in app.routes if isinstance(route, Route)}
    return {re.sub(r"\{.*?\}", "1", path) for path in paths}


def test_every_route_denies_without_the_right_role(replier: Replier, store: Store, roles: dict[Role, str]) -> None:
    """Each with each method, without a key, with a wrong one, and with that of each role; spelled otherwise, too."""
    app = make_app(replier, store, "tuned")
    assert routes(app) == PUBLIC | set.union(*NEEDED.values())
    with TestClient(app, base_url="http://example.org", raise_server_exceptions=False) as client:
        for needed, paths in NEEDED.items():
            for path in paths:
                assert role_needed(path) == needed
                spelled = {path, f"{path}/", path.removeprefix("/v1") if path.startswith("/v1/models") else path}
                for spelling in spelled:
                    for headers in ({}, bearer("wrong"), bearer(f"{roles['admin']}x")):
                        for method in ("GET", "POST", "DELETE", "PUT"):
                            assert client.request(method, spelling, headers=headers).status_code == 401
                    for role in ROLES:
                        method = "GET" if path in ("/metrics", "/v1/models") else "PUT"  # which do not change anything
                        answer = client.request(method, spelling, headers=bearer(roles[role]))
                        if ROLES.index(role) < ROLES.index(needed):
                            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_role")
                        else:
                            assert answer.status_code in (200, 405), (role, path)
        for path in PUBLIC:
            assert client.get(path).status_code == 200


def test_without_keys_a_server_on_this_machine_is_open(client: TestClient, store: Store) -> None:
    """Until the first key is made, and not again when it is revoked."""
    assert client.get("/v1/models").status_code == 200
    _, key = Keys(store).add("anna", "user")
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200
    assert client.get("/v1/models", headers={"x-api-key": key}).status_code == 200
    _, new = Keys(store).rotate("anna")
    assert client.get("/v1/models", headers=bearer(key)).status_code == 401
    assert client.get("/v1/models", headers=bearer(new)).status_code == 200
    Keys(store).revoke("anna")
    for headers in ({}, bearer(new)):
        assert client.get("/v1/models", headers=headers).status_code == 401


def test_keys_of_the_options_work_next_to_those_of_the_store(replier: Replier, store: Store) -> None:
    """--api-key admits like a rater's, --admin-key like an admin's; umlauts are sent in UTF-8."""
    app = make_app(replier, store, "tuned", key="schlüssel", admin_key="boss")
    _, anna = Keys(store).add("anna", "user")
    with TestClient(app, base_url=HERE) as client:
        for key, models, page, adapters in (
            ("schlüssel", 200, 200, 403),
            ("boss", 200, 200, 404),
            (anna, 200, 403, 403),
            ("other", 401, 401, 401),
        ):
            headers: Any = {b"authorization": b"Bearer " + key.encode()}
            assert client.get("/v1/models", headers=headers).status_code == models
            assert client.get("/api/model", headers=headers).status_code == page
            body = {"lora_name": "none"}
            assert client.post("/v1/unload_lora_adapter", json=body, headers=headers).status_code == adapters


def test_an_admin_of_the_store_changes_adapters_of_an_open_server(client: TestClient, store: Store) -> None:
    body = {"lora_name": "none"}
    refused = client.post("/v1/unload_lora_adapter", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_admin_key")
    _, key = Keys(store).add("anna", "admin")
    assert client.post("/v1/unload_lora_adapter", json=body, headers=bearer(key)).status_code == 404


def test_a_key_has_its_requests_per_minute(client: TestClient, store: Store) -> None:
    """Others go on; the answer says when to come back, in the format of each API, and clients understand it."""
    _, key = Keys(store).add("anna", "user", 3)
    _, other = Keys(store).add("bob", "user")
    assert [client.get("/version", headers=bearer(key)).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get("/version", headers=bearer(key))
    assert refused.json()["error"] == {
        "message": f"This key may send 3 requests per minute; try again in {refused.headers['retry-after']} seconds.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert client.get("/health", headers=bearer(key)).status_code == 200
    assert client.get("/version", headers=bearer(other)).status_code == 200
    theirs = openai.OpenAI(api_key=key, base_url=f"{HERE}/v1", http_client=client, max_retries=0)
    with pytest.raises(openai.RateLimitError):
        theirs.models.list()
    claude = anthropic.Anthropic(api_key=key, base_url=HERE, http_client=client, max_retries=0)
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model="tuned", max_tokens=1, messages=[{"role": "user", "content": "Hi"}])


def test_the_supply_of_a_key_is_refilled_evenly(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six a minute: six at once, then one every ten seconds, and never more than six saved up."""
    ring, key, now = Keyring(store), Admitted("hash", "user", 6), 1000.0
    monkeypatch.setattr("sayso.serve.keyring.time.monotonic", lambda: now)
    assert [ring.wait(key) for _ in range(7)] == [0] * 6 + [10]
    now += 4
    assert ring.wait(key) == 6
    now += 6
    assert [ring.wait(key) for _ in range(2)] == [0, 10]
    now += 3600
    assert [ring.wait(key) for _ in range(7)] == [0] * 6 + [10]
    assert [ring.wait(Admitted("free", "user")) for _ in range(100)] == [0] * 100


def test_a_store_that_fails_keeps_the_keys_that_were_read(
    replier: Replier, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, key = Keys(store).add("anna", "user")

    def fail(_: Keys) -> None:
        raise StoreError("The store is not available.")

    with TestClient(make_app(replier, store, "tuned"), base_url=HERE) as client:
        monkeypatch.setattr(Keys, "every", fail)
        with caplog.at_level(logging.WARNING, "sayso.serve.keyring"):
            for _ in range(3):
                assert client.get("/v1/models", headers=bearer(key)).status_code == 200
                assert client.get("/v1/models").status_code == 401
    assert [record.message for record in caplog.records] == [
        "The keys cannot be read again. The store is not available."
    ]


def test_the_request_of_a_key_names_it(store: Store) -> None:
    """In its state, for what stores a reply."""
    made, key = Keys(store).add("anna", "user")
    seen = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["state"])
        await send_json(send, 200, {})

    client = TestClient(AccessMiddleware(app, Keyring(store, "secret"), 1000), base_url=HERE)
    for one in (key, "secret"):
        assert client.get("/version", headers=bearer(one)).status_code == 200
    assert [(one["key_id"], one["key_name"]) for one in seen] == [(made.id, "anna"), (None, None)]
