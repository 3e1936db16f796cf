"""The page's own routes: talking, rating, stopping, deleting."""

import json
from typing import Any

import httpx2
import pytest
import sqlalchemy as sql
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.sample.dry import breaker_ids
from sayso.sample.sampling import Sampling
from sayso.serve import page_replies

CONTEXT = 4096


def lines(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a body as (name, data)."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if not fields:
            continue
        found.append((fields.get("event", ""), json.loads(fields["data"]) if fields["data"] != "[DONE]" else None))
    return found


def talk(
    client: TestClient, content: str, conversation: int | None = None, **wanted: Any
) -> tuple[int, dict[str, Any]]:
    """Say something and get the reply's turn; return the message's id and the turn."""
    if conversation is None:
        conversation = client.post("/api/conversations").json()["id"]
    said = client.post("/api/messages", json={"conversation_id": conversation, "content": content}).json()
    body = {"message_id": said["id"], "max_tokens": 8, **wanted}
    events = lines(client.post("/api/replies", json=body).text)
    assert [name for name, _ in events] == ["start", *["piece"] * (len(events) - 2), "done"]
    turn = events[-1][1]["turn"]
    said_so = "".join(data["text"] for name, data in events if name == "piece")
    assert said_so.replace("\0", "\ufffd") == turn["content"]
    return said["id"], turn


def test_a_talk_is_streamed_kept_and_shown_again(client: TestClient, store: Store) -> None:
    """The pieces are the reply; it is in the store with what made it, and in the conversation opened again."""
    message, turn = talk(client, "hello *you*", temperature=0.5)
    kept = store.message(turn["id"])
    assert kept.generation is not None
    assert (kept.parent_id, kept.content, kept.generation.model) == (message, turn["content"], "tuned")
    assert kept.generation.fingerprint == "0123456789ab"
    assert kept.generation.sampling["temperature"] == 0.5
    assert kept.generation.sampling["seed"] is not None
    assert kept.prompt == [{"role": "user", "content": "hello *you*"}]
    shown = client.get(f"/api/conversations/{kept.conversation_id}").json()
    assert [(one["role"], one["content"]) for one in shown["turns"]] == [
        ("user", "hello *you*"), ("assistant", turn["content"]),
    ]  # fmt: skip
    assert shown["turns"][1] == turn
    assert [one["title"] for one in client.get("/api/conversations").json()] == ["hello *you*"]


def test_a_kept_reply_can_be_said_again_from_its_seed(client: TestClient, store: Store, replier: Replier) -> None:
    """What the store knows of a reply is enough to make it again."""
    _, turn = talk(client, "hello", temperature=1.5, top_k=-1, dry_multiplier=5.0, dry_allowed_length=1)
    kept = store.message(turn["id"])
    assert kept.generation is not None
    sampling = Sampling(**kept.generation.sampling | {"stop": ()})
    assert (sampling.top_k, sampling.dry_multiplier) == (0, 5.0)
    assert set(sampling.dry_breakers) == set(breaker_ids(replier.tokenizer))
    assert replier.replies([kept.prompt or []], sampling)[0].text.replace("\0", "\ufffd") == kept.content


def test_each_kind_of_rating_reaches_the_store(client: TestClient, store: Store) -> None:
    """A thumb, a correction and a choice come back with the turn as it now stands."""
    message, first = talk(client, "hello")
    body = {"message_id": message, "max_tokens": 8}
    second = lines(client.post("/api/replies", json=body).text)[-1][1]["turn"]
    chosen = client.post(
        "/api/ratings",
        json={"kind": "choice", "chosen_id": first["id"], "rejected_id": second["id"], "position": "left"},
    ).json()
    liked = client.post("/api/ratings", json={"kind": "thumb", "message_id": first["id"], "value": 1}).json()
    text = {"kind": "edit", "message_id": first["id"], "text": "Good **day**."}
    edited = client.post("/api/ratings", json=text).json()
    assert [rated["ratings"] for rated in (chosen, liked, edited)] == [1, 2, 3]
    assert (edited["turn"]["thumb"], edited["turn"]["edit"]) == (1, "Good **day**.")
    assert edited["turn"]["edit_html"].strip() == "<p>Good <strong>day</strong>.</p>"
    assert [(rating.kind, rating.value) for rating in store.ratings()] == [("choice", 1), ("thumb", 1), ("edit", 1)]
    view = client.get(f"/api/conversations/{first['conversation_id']}").json()["turns"]
    assert [turn["id"] for turn in view] == [message, first["id"]]


def test_a_conversation_that_outgrows_the_context_goes_on_without_its_oldest_turns(
    client: TestClient, store: Store
) -> None:
    """The reader is told how many messages were left out, and the store keeps the prompt that was really given."""
    _, turn = talk(client, "cat " * 3000)
    said = store.say(turn["conversation_id"], "cat " * 1500)
    events = lines(client.post("/api/replies", json={"message_id": said.id, "max_tokens": 5}).text)
    assert events[0][1]["left_out"] == 2
    kept = store.message(events[-1][1]["turn"]["id"])
    assert [turn["content"] for turn in kept.prompt or []] == [said.content]


def test_a_reply_can_be_stopped_by_name(address: str, store: Store) -> None:
    """Stopped after its first piece, the stream still ends with the turn, which says that it was stopped."""
    said = store.say(store.new_conversation().id, "hello")
    body = {"message_id": said.id, "temperature": 0, "max_tokens": CONTEXT}
    told: list[tuple[str, Any]] = []
    with (
        httpx2.Client(base_url=address, timeout=60) as client,
        client.stream("POST", "/api/replies", json=body) as stream,
    ):
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
            if line == "" and name == "piece":
                client.post("/api/stop", json={"generation": told[0][1]["generation"]})
    assert told[-1][0] == "done"
    assert told[-1][1]["turn"]["finish"] == "stopped"
    assert store.branch(said.conversation_id)[-1].content == told[-1][1]["turn"]["content"]


def test_a_conversation_can_be_deleted(client: TestClient, store: Store) -> None:
    """It is gone with its ratings; a second time it is not found."""
    _, turn = talk(client, "hello")
    store.thumb(turn["id"], 1)
    path = f"/api/conversations/{turn['conversation_id']}"
    assert [client.delete(path).status_code for _ in range(2)] == [204, 404]
    assert client.get("/api/model").json()["ratings"] == 0


def test_a_reply_waits_for_room_on_a_full_disk(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is told with the error, a message and a rating are refused with 507; when there is room it is kept."""
    monkeypatch.setattr(page_replies, "PATIENCE", 0.02)
    said = store.say(store.new_conversation().id, "hello")
    room = [0]  # pages; a database does not become smaller than it is

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={room[0] or 1}")

    sql.event.listen(store.engine, "checkout", limit)
    body = {"message_id": said.id, "temperature": 0, "max_tokens": 4000}
    told = client.post("/api/replies", json=body).text
    events = lines(told)
    assert events[-1][0] == "error"
    error = events[-1][1]["error"]
    assert (error["code"], error["type"]) == ("store_full", "server_error")
    assert "The store's disk is full" in error["message"]
    text = "".join(data["text"] for name, data in lines(told) if name == "piece")
    refused = client.post("/api/messages", json={"conversation_id": said.conversation_id, "content": "x" * 90_000})
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "store_full")
    assert len(store.branch(said.conversation_id)) == 1
    room[0] = 100_000
    while len(turns := store.branch(said.conversation_id)) == 1:
        client.get("/health")
    assert turns[-1].content == text.replace("\0", "\ufffd")


def test_a_reply_that_never_gets_room_is_in_the_log(
    app: FastAPI, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that ends before the disk has room again leaves the words on the terminal."""
    said = store.say(store.new_conversation().id, "hello")
    sql.event.listen(store.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA max_page_count=1"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        told = client.post("/api/replies", json={"message_id": said.id, "temperature": 0, "max_tokens": 4000}).text
    text = "".join(data["text"] for name, data in lines(told) if name == "piece")
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert f"The reply to message {said.id} was not stored. Its text: {text}" in caplog.text


def test_a_message_has_versions_and_a_branch_is_chosen(client: TestClient, store: Store) -> None:
    """Another version of the first message renames the conversation; a reply is corrected, not replaced."""
    first, reply = talk(client, "hello")
    other = client.post("/api/messages", json={"conversation_id": 1, "content": "good day", "replaces": first}).json()
    assert (other["parent_id"], other["versions"]) == (None, [first, other["id"]])
    assert [one["title"] for one in client.get("/api/conversations").json()] == ["good day"]
    assert [one["id"] for one in client.get("/api/conversations/1").json()["turns"]] == [other["id"]]
    back = client.post("/api/versions", json={"message_id": first}).json()
    assert [one["id"] for one in back["turns"]] == [first, reply["id"]]
    assert client.get("/api/conversations/1").json()["turns"] == back["turns"]
    refused = client.post("/api/messages", json={"conversation_id": 1, "content": "no", "replaces": reply["id"]})
    assert refused.status_code == 400
    assert "Only a message of the user can be edited" in refused.json()["error"]["message"]
    assert client.post("/api/versions", json={"message_id": 99}).status_code == 404


def test_a_reply_of_an_unknown_model_is_refused(client: TestClient, store: Store) -> None:
    """With the names of those that there are; the served one can be named."""
    said = client.post("/api/messages", json={"conversation_id": client.post("/api/conversations").json()["id"],
                                              "content": "hello"}).json()  # fmt: skip
    assert client.get("/api/model").json()["models"] == ["tuned"]
    refused = client.post("/api/replies", json={"message_id": said["id"], "model": "tunes"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    events = lines(client.post("/api/replies", json={"message_id": said["id"], "model": "tuned", "max_tokens": 4}).text)
    assert events[0][1]["model"] == "tuned"
    assert events[0][1]["prompt_tokens"] == events[-1][1]["turn"]["prompt_tokens"] > 0


def test_the_export_of_nothing_is_not_found(client: TestClient) -> None:
    """Neither form."""
    for form in ("json", "markdown"):
        assert client.get(f"/api/conversations/7/export?form={form}").status_code == 404
    client.post("/api/conversations")
    assert client.get("/api/conversations/1/export?form=html").status_code == 400
