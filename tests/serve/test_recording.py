"""Recording of the API's replies: what was asked and replied, by whom, with the tokens as they were drawn."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
import torch
from fastapi.testclient import TestClient
from sqlalchemy.engine.default import DefaultDialect

from sayso.feedback.generations import Generations
from sayso.feedback.store import Store, StoredMessage
from sayso.feedback.tables import conversations, messages
from sayso.feedback.traces import Trace
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.serve.recording import SAMPLED, Recorder, _log

HERE = "http://127.0.0.1"
CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello \0cat"}]
Recorded = list[tuple[StoredMessage, Trace | None]]


@contextmanager
def recording(replier: Replier, path: Path, **options: Any) -> Iterator[tuple[TestClient, Callable[[], Recorded]]]:
    """Serve with a store at a path; give the client, and what is in the store, to be asked after the server's end."""
    with closing(Store(path)) as store:
        app = make_app(replier, store, "tuned", fingerprint="0123456789ab", **options)

        def recorded() -> Recorded:
            with store.engine.begin() as connection:
                ids = connection.scalars(sql.select(messages.c.id).where(messages.c.role == "assistant")).all()
            return [(store.message(one), Generations(store).trace(one)) for one in sorted(ids)]

        with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
            yield client, recorded


def true_logprobs(replier: Replier, prompt: list[int], reply: list[int]) -> list[float]:
    """Return the model's own log-probability of each id of a reply, by one pass over all."""
    with torch.no_grad():
        logits = replier.model(torch.tensor([[*prompt, *reply]])).float().log_softmax(-1)
    return [float(logits[0, len(prompt) + place - 1, token]) for place, token in enumerate(reply)]


ROUTES = {
    "/v1/chat/completions": {"messages": CHAT, "user": "ann"},
    "/v1/completions": {"prompt": "the cat", "user": "ann"},
    "/v1/responses": {"input": CHAT[1:], "instructions": "Be kind.", "user": "ann", "max_output_tokens": 16},
    "/v1/messages": {"messages": CHAT[1:], "system": "Be kind.", "model": "tuned", "metadata": {"user_id": "ann"}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_a_reply_of_each_route_is_recorded(replier: Replier, tmp_path: Path, route: str, stream: bool) -> None:
    """With its prompt, text, asker and settings, and the true ids and log-probabilities."""
    length = {} if "max_output_tokens" in ROUTES[route] else {"max_tokens": 16}
    body = {"temperature": 0.7, "stream": stream, **length, **ROUTES[route]}
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        given = client.post(route, json=body, headers={"x-request-id": "r1"})
        assert given.status_code == 200
    [(reply, trace)] = recorded()
    assert reply.generation is not None
    assert trace is not None
    assert (reply.generation.model, reply.generation.fingerprint) == ("tuned", "0123456789ab")
    assert reply.generation.sampling["temperature"] == pytest.approx(0.7)
    assert reply.generation.sampling["seed"] is not None
    assert (trace.route, trace.request, trace.alias, trace.sample) == (route, "r1", None, 0)
    if trace.completion_ids[0] not in replier.tokenizer.stop_ids:  # which ends a reply without a first token to show
        assert trace.first_seconds is not None
        assert 0 < trace.first_seconds <= reply.generation.seconds
    prompt = [{"role": "text", "content": "the cat"}] if route == "/v1/completions" else CHAT
    assert reply.prompt == [{**turn, "content": turn["content"].replace("\0", "\ufffd")} for turn in prompt]
    assert len(trace.prompt_ids) == reply.generation.prompt_tokens
    text = replier.tokenizer.decode(trace.completion_ids).replace("\0", "\ufffd")
    assert text.rstrip("\ufffd") == reply.content.rstrip("\ufffd")  # a character that was cut is not shown
    wanted = true_logprobs(replier, [*trace.prompt_ids], [*trace.completion_ids])
    assert trace.logprobs == pytest.approx(wanted, abs=1e-4)


def test_every_choice_of_a_request_is_recorded(replier: Replier, tmp_path: Path) -> None:
    """Under one conversation, whose prompt is stored once; the user's later turns continue it."""
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        body = {"messages": CHAT, "max_tokens": 4, "n": 3, "seed": 5}
        said = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        more = [*CHAT, said, {"role": "user", "content": "and?"}]
        client.post("/v1/chat/completions", json=body | {"messages": more, "n": 1})
    replies = recorded()
    assert [trace.sample for _, trace in replies if trace] == [0, 1, 2, 0]
    assert len({reply.conversation_id for reply, _ in replies}) == 1
    assert [turn["role"] for turn in replies[3][0].prompt or []] == ["system", "user", "assistant", "user"]
    assert all(reply.parent_id is None for reply, _ in replies)


def test_the_token_that_ends_a_reply_is_recorded(replier: Replier, tmp_path: Path) -> None:
    """With its own log-probability, although it is no part of the text."""
    stop = next(iter(replier.tokenizer.stop_ids))
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        client.post("/v1/completions", json={"prompt": "the cat", "max_tokens": 4, "logit_bias": {str(stop): 100}})
    [(reply, trace)] = recorded()
    assert trace is not None
    assert (reply.content, trace.completion_ids) == ("", [stop])
    assert trace.logprobs == pytest.approx(true_logprobs(replier, [*trace.prompt_ids], [stop]), abs=1e-4)


def test_tools_and_calls_are_part_of_the_prompt(replier: Replier, tmp_path: Path) -> None:
    """Tools as its first turn; fields other than a turn's text as they were sent."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = [
        CHAT[1],
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        body = {"messages": said, "tools": tools, "max_tokens": 4}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
    [(reply, _)] = recorded()
    assert reply.prompt is not None
    assert [turn["role"] for turn in reply.prompt] == ["tools", "user", "assistant", "tool"]
    assert '"look"' in reply.prompt[0]["content"]
    assert reply.prompt[2]["tool_calls"][0]["function"]["name"] == "look"
    assert reply.prompt[3]["tool_call_id"] == "c1"


def test_nothing_of_the_api_is_recorded_by_default(replier: Replier, tmp_path: Path) -> None:
    """Nor what only scores a prompt, whatever is recorded."""
    score = {"prompt": "the cat", "echo": True, "logprobs": 1, "max_tokens": 0}
    for path, body, options in [
        ("off", {"messages": CHAT, "max_tokens": 4}, {}),
        ("all", {"prompt": "", **score}, {"record": "all"}),
    ]:
        route = "/v1/chat/completions" if "messages" in body else "/v1/completions"
        with recording(replier, tmp_path / path, **options) as (client, recorded):
            assert client.post(route, json=body).status_code == 200
        assert recorded() == []


def test_the_pages_replies_have_traces(replier: Replier, tmp_path: Path) -> None:
    """Without `--record`, as ever."""
    with recording(replier, tmp_path / "store.sqlite") as (client, recorded):
        talk = client.post("/api/conversations").json()["id"]
        said = client.post("/api/messages", json={"conversation_id": talk, "content": "hello"}).json()["id"]
        client.post("/api/replies", json={"message_id": said, "max_tokens": 4})
    [(reply, trace)] = recorded()
    assert trace is not None
    assert (reply.parent_id, trace.route) == (said, "page")
    assert trace.logprobs == pytest.approx(
        true_logprobs(replier, [*trace.prompt_ids], [*trace.completion_ids]), abs=1e-4
    )


def test_an_objection_is_a_signal_on_the_page_and_in_the_api(replier: Replier, tmp_path: Path) -> None:
    """About the reply before it, as soon as the user's next turn comes."""
    objection = "No, that is wrong."
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        body = {"messages": CHAT, "max_tokens": 4}
        said = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        more = [*CHAT, said, {"role": "user", "content": objection}]
        assert client.post("/v1/chat/completions", json=body | {"messages": more}).status_code == 200
        talk = client.post("/api/conversations").json()["id"]
        for text in ("the cat", objection):
            asked = client.post("/api/messages", json={"conversation_id": talk, "content": text}).json()["id"]
            client.post("/api/replies", json={"message_id": asked, "max_tokens": 4})
    by_talk: dict[int, list[int]] = {}
    for reply, _ in recorded():
        by_talk.setdefault(reply.conversation_id, []).append(reply.id)
    with closing(Store(tmp_path / "store.sqlite")) as store:
        signals = store.signals([one for ids in by_talk.values() for one in ids])
    found = {one.message_id: (one.kind, one.detail) for one in signals}
    assert [len(ids) for ids in by_talk.values()] == [2, 2]
    assert found == {ids[0]: ("complained", "that is wrong") for ids in by_talk.values()}


def test_a_store_that_fails_breaks_no_reply(replier: Replier, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reply is the same; what was not recorded is counted in the log."""
    path = tmp_path / "store.sqlite"
    with recording(replier, path, record="all") as (client, _):
        with closing(Store(path)) as other, other.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE generations")
        given = client.post("/v1/chat/completions", json={"messages": CHAT, "max_tokens": 4, "n": 2})
        assert given.status_code == 200
        assert len(given.json()["choices"]) == 2
    assert "not recorded so far: 2" in caplog.text


@pytest.fixture
def lost_answer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the database fail once, after it has stored a reply and before it says so; the list then has the failure."""
    commit: Callable[..., None] = DefaultDialect.do_commit
    failed = list[str]()

    def lost(self: DefaultDialect, connection: Any) -> None:
        commit(self, connection)
        if not failed and connection.cursor().execute("SELECT count(*) FROM messages WHERE model != ''").fetchone()[0]:
            failed.append("lost")
            raise sqlite3.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(DefaultDialect, "do_commit", lost)
    return failed


def test_a_reply_is_recorded_once_although_the_answer_of_the_database_was_lost(
    replier: Replier, tmp_path: Path, lost_answer: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all replies to the request; the server ends while it waits for the next attempt."""
    held = threading.Event()
    monkeypatch.setattr(_log, "warning", lambda *_: held.set())
    with recording(replier, tmp_path / "store.sqlite", record="all") as (client, recorded):
        given = client.post("/v1/chat/completions", json={"messages": CHAT, "max_tokens": 4, "n": 2, "temperature": 2})
        texts = [choice["message"]["content"].replace("\0", "\ufffd") for choice in given.json()["choices"]]
        assert held.wait(60)
    assert lost_answer
    kept = {trace.sample: reply.content for reply, trace in recorded() if trace}
    assert [kept[sample] for sample in sorted(kept)] == texts


def test_the_pages_reply_is_stored_once_although_the_answer_of_the_database_was_lost(
    replier: Replier, tmp_path: Path, lost_answer: list[str]
) -> None:
    with recording(replier, tmp_path / "store.sqlite") as (client, recorded):
        talk = client.post("/api/conversations").json()["id"]
        said = client.post("/api/messages", json={"conversation_id": talk, "content": "hello"}).json()["id"]
        streamed = client.post("/api/replies", json={"message_id": said, "max_tokens": 4}).text
    assert lost_answer
    assert "store_unavailable" in streamed
    assert [reply.parent_id for reply, _ in recorded()] == [said]


def test_one_conversation_in_ten_is_sampled(tmp_path: Path) -> None:
    """By a hash: each conversation is recorded wholly or not at all."""
    with closing(Store(tmp_path / "store.sqlite")) as store:
        first, second = Recorder(store, "sampled"), Recorder(store, "sampled")
        keys = [f"{number * 2654435761 % 2**32:08x}" for number in range(10_000)]
        wanted = [first.wants(key) for key in keys]
        assert sum(wanted) == pytest.approx(len(keys) / SAMPLED, rel=0.1)
        assert wanted == [second.wants(key) for key in keys]


def test_conversations_of_different_users_are_distinct(replier: Replier, tmp_path: Path) -> None:
    """Although they begin alike; and the page does not list them."""
    path = tmp_path / "store.sqlite"
    with recording(replier, path, record="all") as (client, recorded):
        for user in ("ann", "bob", "ann"):
            client.post("/v1/chat/completions", json={"messages": CHAT, "max_tokens": 2, "user": user})
        assert client.get("/api/conversations").json() == []
    first, second, third = (reply.conversation_id for reply, _ in recorded())
    assert first == third != second
    with closing(Store(path)) as store, store.engine.begin() as connection:
        found = connection.execute(sql.select(conversations.c.user, conversations.c.title)).all()
    assert sorted(map(tuple, found)) == [("ann", "hello \ufffdcat"), ("bob", "hello \ufffdcat")]
