"""No input gives a status of 500: requests generated from our own OpenAPI schema, and sequences of requests.

Every answer is a success or an error in OpenAI's shape. The examples are the same in every run.
"""

import json
import random
import re
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.app import make_app

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

HELLO = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "cat"},
    "/v1/responses": {"input": "hello"},
    "/v1/embeddings": {"input": "cat"},
    "/v1/messages": {"model": "tuned", "max_tokens": 2, "messages": HELLO},
    "/v1/messages/count_tokens": {"model": "tuned", "messages": HELLO},
    "/v1/responses/input_tokens": {"input": "hello"},
    "/v1/score": {"text_1": "hello", "text_2": "cat"},
    "/v1/rerank": {"query": "hello", "documents": ["cat"]},
    "/v1/load_lora_adapter": {"lora_name": "poet", "lora_path": "/nowhere"},
    "/v1/unload_lora_adapter": {"lora_name": "poet"},
    "/apply-template": {"messages": HELLO},
    "/tokenize": {"prompt": "cat"},
    "/detokenize": {"tokens": [1]},
    "/api/messages": {"conversation_id": 1, "content": "hello"},
    "/api/replies": {"message_id": 1},
    "/api/versions": {"message_id": 1},
    "/api/stop": {"generation": "x"},
    "/api/xray": {"panel": "tokens", "text": "cat"},
    "/api/ratings": {"kind": "thumb", "message_id": 2, "value": 1},
    "/api/signals": {"kind": "copied", "message_id": 2},
    "/api/comparisons": {"replies": [2, 3]},
    "/api/flags": {"flag_id": 1, "state": "real"},
    "/api/admin/jobs": {"act": "evaluate", "options": {}},
    "/api/admin/aliases/{alias}/rollback": {"reason": "worse"},
    "/api/diagnose/samples": {"size": 5, "seed": 1},
    "/api/diagnose/samples/{sample_id}/readings": {"position": 1},
    "/api/diagnose/notes": {"message_id": 2, "text": "rude"},
    "/api/diagnose/notes/{note_id}": {"text": "rude"},
    "/api/diagnose/groups": {"notes": [1], "category_id": 1},
    "/api/diagnose/categories": {"name": "rude"},
    "/api/diagnose/categories/{category_id}": {"name": "rude"},
    "/api/diagnose/cases": {"notes": [1]},
    "/api/rate/take": {"act": "compare", "annotator": "ann"},
    "/api/rate/compare": {"review": 1, "better": "left", "annotator": "ann"},
    "/api/rate/write": {"review": 2, "text": "So.", "annotator": "ann"},
    "/api/rate/check": {"review": 3, "verdict": "accept", "annotator": "ann"},
    "/api/rate/skip": {"review": 1, "annotator": "ann"},
    "/api/rate/undo": {"act": "compare", "annotator": "ann"},
    "/api/admin/rate/guidelines": {"text": "Be kind.", "reviews": 2, "reasons": ["kinder"], "tags": []},
    "/api/admin/rate/prompts": {"name": "list", "prompts": ["hello"]},
    "/api/admin/rate/pairs": {
        "name": "list",
        "pairs": [{"prompt": "hello", "replies": [{"model": "a", "text": "x"}, {"model": "b", "text": "y"}]}],
    },
    "/api/admin/rate/replies": {"name": "list", "prompt": "hello", "models": ["tuned", "tuned"]},
}
"""A valid body for each route that takes one."""
LENGTHS = {
    "/v1/chat/completions": "max_completion_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
    "/v1/messages": "max_tokens",
    "/api/replies": "max_tokens",
    "/api/admin/rate/replies": "max_tokens",
}
"""The field that bounds the length of a reply, and so the time of a test."""
BOUNDED = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module", autouse=True)
def subnormal_numbers() -> None:
    """Have them, whatever ran before in this process: training turns them off, and hypothesis needs them."""
    torch.set_flush_denormal(False)


def check(response: Any, sent: object) -> int:
    """Check that a response is a success or an error in OpenAI's or Anthropic's shape, and return its status."""
    assert response.status_code < 500, (sent, response.text)
    if response.status_code >= 400:
        of_anthropic = response.json().get("type") == "error"
        keys = {"message", "type"} if of_anthropic else {"message", "type", "param", "code"}
        assert set(response.json()["error"]) == keys, sent
        assert len(response.json()["error"]["message"]) < 600, sent
    elif response.headers.get("content-type", "").startswith("text/event-stream"):
        assert "server_error" not in response.text, sent
    return int(response.status_code)


@pytest.fixture(scope="module")
def app(replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """One server for all tests here."""
    store = Store(tmp_path_factory.mktemp("store") / "store.sqlite")
    yield make_app(replier, store, "tuned")
    store.close()


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def operations(app: FastAPI) -> dict[tuple[str, str], Any]:
    """Each operation of the OpenAPI schema by method and path."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    found = [result.ok() for result in schema.get_all_operations()]
    return {(one.method.upper(), one.path): one for one in found}


def test_every_body_is_fuzzed(app: FastAPI) -> None:
    """A new route that takes a body needs a valid example here."""
    taken = {path for path, methods in app.openapi()["paths"].items() if "requestBody" in methods.get("post", {})}
    assert taken == set(BODIES)


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", BODIES)
def test_generated_bodies_are_answered_or_refused(
    client: TestClient, operations: dict[tuple[str, str], Any], path: str, mode: str
) -> None:
    """A valid body with some of its fields replaced by generated ones, valid for the schema or not."""
    cases = operations["POST", path].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @BOUNDED
    @given(cases, st.randoms(use_true_random=False))
    def send(case: Any, draw: random.Random) -> None:
        body = case.body
        if isinstance(body, dict):
            changed = draw.sample(sorted(body), min(len(body), draw.randint(1, 3)))
            body = BODIES[path] | {name: body[name] for name in changed}
            if path in LENGTHS and isinstance(body.get(LENGTHS[path]), int | None):
                body[LENGTHS[path]] = 2
            if "model" in body and draw.random() < 0.9:
                body["model"] = "tuned"
        if not isinstance(body, dict | list | str | int | float | bool | None):
            return  # schemathesis' own marks of an absent or unencodable body
        headers, address = {"content-type": "application/json"}, re.sub(r"\{\w+\}", "1", path)
        check(client.post(address, content=json.dumps(body), headers=headers), (path, body))

    send()


def test_generated_addresses_are_answered_or_refused(
    client: TestClient, operations: dict[tuple[str, str], Any]
) -> None:
    """Routes without a body, with generated parts of the path; but for the stream that never ends."""
    for (method, path), operation in operations.items():
        if path in BODIES or path == "/api/changes":
            continue
        modes = ["positive", "negative"] if path.endswith("{conversation_id}") else ["positive"]
        for mode in modes:
            send_all(client, method, operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))


def send_all(client: TestClient, method: str, cases: Any) -> None:
    """Send generated requests without a body."""

    @BOUNDED
    @given(cases)
    def send(case: Any) -> None:
        address = case.as_transport_kwargs(base_url=str(client.base_url))["url"]
        check(client.request(method, address), (method, address))

    send()


TEXTS = st.sampled_from(["hello", " ", "\u2028", "\ud800", "\x00", "x" * 200])
PICKS = st.integers(0, 99)


def picked(known: Collection[int], pick: int) -> int:
    """Return one of the ids, or one that does not exist."""
    return [*known, 10**6][pick % (len(known) + 1)]


class Page(RuleBasedStateMachine):
    """The page's routes in any order, compared with a plain model of the store."""

    client: ClassVar[TestClient]
    rated: ClassVar[set[str]]
    """The kinds of ratings that were stored."""

    def __init__(self) -> None:
        super().__init__()
        self.talks: dict[int, list[int]] = {}
        """The ids of the messages of each conversation, as they were made."""
        self.replies: dict[int, int] = {}
        """The message that each reply answers."""

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request, check the response, and return its status and itself."""
        content = json.dumps(body) if body is not None else None
        response = self.client.request(method, path, content=content, headers={"content-type": "application/json"})
        status = check(response, (method, path, body))
        if path == "/api/ratings" and status == 201 and isinstance(body, dict):
            self.rated.add(body["kind"])
        return status, response

    @initialize()
    def begin_with_a_reply(self) -> None:
        """Make something to rate."""
        self.begin()
        [talk] = self.talks
        _, response = self.send("POST", "/api/messages", {"conversation_id": talk, "content": "hello"})
        self.talks[talk].append(response.json()["id"])
        for _ in range(2):
            self.reply_to(self.talks[talk][0])
        assert len(self.replies) == 2

    @rule()
    def begin(self) -> None:
        """Begin a conversation."""
        status, response = self.send("POST", "/api/conversations")
        assert status == 201
        self.talks[response.json()["id"]] = []

    @rule(pick=PICKS, content=TEXTS)
    def say(self, pick: int, content: str) -> None:
        """Add a message to a conversation."""
        talk = picked(self.talks, pick)
        status, response = self.send("POST", "/api/messages", {"conversation_id": talk, "content": content})
        if talk not in self.talks:
            assert status in (400, 404)
        elif status == 201:
            self.talks[talk].append(response.json()["id"])
        else:
            assert status == 400, content

    @rule(pick=PICKS)
    def reply(self, pick: int) -> None:
        """Request a reply to a message."""
        self.reply_to(picked(self.messages(), pick))

    def reply_to(self, message: int) -> None:
        """Request a reply, and keep its id."""
        status, response = self.send("POST", "/api/replies", {"message_id": message, "max_tokens": 2})
        if message not in self.messages():
            assert status == 404
            return
        events = response.text.split("event: done\ndata: ") if status == 200 else []
        if len(events) == 2 and (turn := json.loads(events[1].strip())["turn"]):
            self.replies[turn["id"]] = message
            self.talks[turn["conversation_id"]].append(turn["id"])

    @rule(pick=PICKS, value=st.sampled_from([1, 0, -1, 2, True]))
    def thumb(self, pick: int, value: int) -> None:
        """Rate a reply, or what cannot be rated."""
        message = picked(self.messages(), pick)
        body = {"kind": "thumb", "message_id": message, "value": value}
        status, _ = self.send("POST", "/api/ratings", body)
        assert (status == 201) == (message in self.replies and value in (1, 0, -1) and value is not True)

    @rule(pick=PICKS, text=TEXTS)
    def edit(self, pick: int, text: str) -> None:
        """Correct a reply."""
        message = picked(self.messages(), pick)
        status, _ = self.send("POST", "/api/ratings", {"kind": "edit", "message_id": message, "text": text})
        assert status != 201 or message in self.replies

    @rule(pick=PICKS, other=PICKS, better=st.booleans())
    def choose(self, pick: int, other: int, better: bool) -> None:
        """Choose between two replies."""
        chosen, rejected = (picked(self.replies, number) for number in (pick, other))
        body = {"kind": "choice", "chosen_id": chosen, "rejected_id": rejected, "better": better}
        status, _ = self.send("POST", "/api/ratings", body)
        siblings = self.replies.get(chosen) == self.replies.get(rejected, -1)
        assert status != 201 or (siblings and chosen != rejected)

    @rule(pick=PICKS)
    def read(self, pick: int) -> None:
        """Read a conversation."""
        talk = picked(self.talks, pick)
        status, response = self.send("GET", f"/api/conversations/{talk}")
        assert status == (200 if talk in self.talks else 404)
        if status == 200:
            assert {turn["id"] for turn in response.json()["turns"]} <= set(self.talks[talk])

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        """Delete a conversation."""
        talk = picked(self.talks, pick)
        status, _ = self.send("DELETE", f"/api/conversations/{talk}")
        assert status == (204 if talk in self.talks else 404)
        for message in self.talks.pop(talk, []):
            self.replies.pop(message, None)

    def messages(self) -> list[int]:
        """Return the ids of all messages."""
        return [message for talk in self.talks.values() for message in talk]

    def teardown(self) -> None:
        """Leave the store as it was."""
        for talk in list(self.talks):
            self.send("DELETE", f"/api/conversations/{talk}")


def test_sequences_of_requests_keep_the_store_consistent(client: TestClient) -> None:
    """Conversations, messages, replies and ratings in any order, with ids that do not exist or were deleted."""
    bounds = settings(BOUNDED, max_examples=10, stateful_step_count=20)
    rated: set[str] = set()
    run_state_machine_as_test(type("Served", (Page,), {"client": client, "rated": rated}), settings=bounds)
    assert rated == {"thumb", "edit", "choice"}
