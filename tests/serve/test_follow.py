"""A served alias: which model answers while it moves, what becomes of the model before, and what fails."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import ref

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.database import StoreError
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.serve.follow import Follow, Follower, Following
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import start_model
from sayso.token.train import train

HERE = "http://127.0.0.1"
CHAT = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 4, "seed": 1}
Hook = Callable[[Engine, Callable[[], object]], None]


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the application itself never look, so that a test decides when."""
    monkeypatch.setattr("sayso.serve.follow.EVERY", 3600.0)


def small(seed: int) -> Replier:
    """A small random model with a tokenizer of its own."""
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9 + "and a dog ran home. " * seed], 290 + seed)
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 32, context=256)).initialize()
    with torch.no_grad():
        model.unembed.weight[list(tokenizer.specials.values())] = -9  # taken greedily, it never ends by itself
    return Replier(model.eval(), tokenizer)


REPLIERS = {name: small(seed) for seed, name in enumerate(("first", "second", "third"), 1)}


def marked(name: str) -> str:
    return f"{name}-weights"


def load(entry: Assignment) -> ServedModel:
    """As the act does; a model that is not there is refused."""
    if entry.model not in REPLIERS:
        raise UserError(f"'{entry.alias}' names '{entry.model}', whose folder is gone; restore it, or roll back.")
    replier = REPLIERS[entry.model]
    return start_model(replier, entry.model, marked(entry.model), Engine(replier.model, rows=4), 16, entry.alias)


def assign(store: Store, model: str) -> Assignment:
    aliases = Aliases(store)
    return aliases.assign("stable", model, marked(model), after=aliases.current("stable"))


def followed(store: Store, load: Callable[[Assignment], ServedModel] = load) -> tuple[FastAPI, Follow]:
    """An application that serves what `stable` names."""
    entry = Aliases(store).current("stable") or assign(store, "first")
    follow = Follow(entry, lambda: Aliases(store).current("stable"), load)
    replier = REPLIERS[entry.model]
    engine = Engine(replier.model, rows=4)
    return make_app(
        replier, store, entry.model, fingerprint=marked(entry.model), engine=engine, following=Following(follow)
    ), follow


@pytest.fixture
def served(store: Store) -> Iterator[tuple[TestClient, Callable[[], None]]]:
    """A client of it, and a look at the store."""
    app, follow = followed(store)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        follower = Follower(follow, app.state.models)
        yield client, lambda: client.portal.call(follower.look)  # type: ignore[union-attr]


def made_by(client: TestClient, **fields: Any) -> tuple[str, str]:
    body = client.post("/v1/chat/completions", json=CHAT | fields).json()
    return body["model"], body["system_fingerprint"]


def answered_by(clients: Sequence[TestClient], model: str) -> bool:
    """Whether this model answers all of them in the end."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if {made_by(client)[0] for client in clients} == {model}:
            return True
    return False


def test_another_model_answers_once_the_alias_names_it(
    served: tuple[TestClient, Callable[[], None]], store: Store
) -> None:
    """With another tokenizer too; a roll-back works in the same way, and what changes nothing loads nothing."""
    client, look = served
    assert made_by(client) == made_by(client, model="stable") == made_by(client, model="first")
    assert made_by(client) == ("first", "first-weights")
    assign(store, "second")
    assert made_by(client) == ("first", "first-weights"), "nobody has looked yet"
    look()
    assert made_by(client) == made_by(client, model="stable") == ("second", "second-weights")
    listed = client.get("/v1/models").json()["data"]
    assert [(one["id"], one.get("parent")) for one in listed] == [("second", None), ("stable", "second")]
    assert client.get("/v1/models/stable").json()["parent"] == "second"
    assert client.get("/api/model").json()["name"] == "second"
    assert client.get("/tokenizer_info").json()["vocab_size"] == REPLIERS["second"].tokenizer.vocab_size
    assert 'model_name="second"' in client.get("/metrics").text
    gone = client.post("/v1/chat/completions", json=CHAT | {"model": "first"})
    assert gone.status_code == 404
    assert "this server has 'second' or 'stable'" in gone.json()["error"]["message"]
    Aliases(store).roll_back("stable")
    look()
    assert made_by(client) == ("first", "first-weights")
    before = client.app.state.models.main  # type: ignore[attr-defined]
    assign(store, "second")
    Aliases(store).roll_back("stable")
    look()
    assert client.app.state.models.main is before  # type: ignore[attr-defined]


def test_a_running_reply_ends_on_its_model_whose_engine_is_then_freed(
    served: tuple[TestClient, Callable[[], None]], store: Store, hook: Hook
) -> None:
    """A stream of the API and a reply on the page are held after their first step; a new request is answered."""
    client, look = served
    worker = client.app.state.models.main.worker  # type: ignore[attr-defined]
    engine, begun, go = ref(worker.engine), threading.Semaphore(0), threading.Event()
    talk = client.post("/api/conversations").json()["id"]
    said = client.post("/api/messages", json={"conversation_id": talk, "content": "the cat"}).json()["id"]

    def hold() -> None:
        begun.release()
        assert go.wait(60)

    hook(worker.engine, hold)
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(client.post, "/v1/chat/completions", json=CHAT | {"stream": True, "max_tokens": 20})
        assert begun.acquire(timeout=60)
        page = pool.submit(client.post, "/api/replies", json={"message_id": said, "max_tokens": 20})
        while worker.load < 2:
            pass
        assign(store, "second")
        look()
        assert made_by(client) == ("second", "second-weights")
        assert not stream.done()
        go.set()
        chunks = stream.result().text.split("\n\n")
        assert "data: [DONE]" in chunks
        assert all('"system_fingerprint":"first-weights"' in one for one in chunks if one.startswith("data: {"))
        assert '"model":"first"' in page.result().text
        done = json.loads(page.result().text.split("event: done\ndata: ")[1].split("\n")[0])
        known = client.get("/api/model").json()
        assert done["model"] == {name: known[name] for name in ("name", "fingerprint", "context")}
        assert done["model"]["name"] == "second", "what the page shows from then on"
    [_, reply] = store.branch(talk)
    assert reply.generation is not None
    assert (reply.generation.model, reply.generation.fingerprint) == ("first", "first-weights")
    thread = worker._thread
    del worker, hold, hook
    stream = page = None  # type: ignore[assignment]
    assert thread is not None
    thread.join(60)
    assert not thread.is_alive()
    assert engine() is None
    assert made_by(client) == ("second", "second-weights")


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each reason, not for each look; the next entry is tried at once."""
    error: Exception | None = None

    def failing(entry: Assignment) -> ServedModel:
        if error is not None:
            raise error
        return load(entry)

    app, follow = followed(store, failing)
    with TestClient(app, base_url=HERE) as client, caplog.at_level(logging.WARNING, "sayso.serve.follow"):
        follower = Follower(follow, app.state.models)
        assert client.portal is not None
        for model, problem, says in (
            (
                "gone",
                None,
                "'stable' names 'gone'; what was served before goes on answering: 'stable' names 'gone', whose",
            ),
            ("second", MemoryError(), "goes on answering: there is not enough memory for one more model."),
            ("third", RuntimeError("bug"), "goes on answering: RuntimeError: bug"),
        ):
            assign(store, model)
            error = problem
            caplog.clear()
            for _ in range(3):
                client.portal.call(follower.look)
            [record] = caplog.records
            assert says in record.message
            assert made_by(client) == ("first", "first-weights")
        monkeypatch.setattr("sayso.serve.follow.RETRY", 0.0)
        error = None
        assign(store, "second")
        client.portal.call(follower.look)
        assert made_by(client) == ("second", "second-weights")


def test_a_model_that_was_not_there_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.serve.follow.RETRY", 0.0)
    there = threading.Event()

    def sometimes(entry: Assignment) -> ServedModel:
        if not there.is_set():
            raise UserError("Not yet.")
        return load(entry)

    app, follow = followed(store, sometimes)
    with TestClient(app, base_url=HERE) as client:
        follower = Follower(follow, app.state.models)
        assert client.portal is not None
        assign(store, "second")
        client.portal.call(follower.look)
        assert made_by(client)[0] == "first"
        there.set()
        client.portal.call(follower.look)
        assert made_by(client)[0] == "second"


def test_a_store_that_fails_leaves_the_model_in_place(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    app, follow = followed(store)

    def fails() -> Assignment | None:
        raise StoreError("The store is not available.")

    with TestClient(app, base_url=HERE) as client, caplog.at_level(logging.WARNING, "sayso.serve.follow"):
        follower = Follower(Follow(follow.entry, fails, load), app.state.models)
        assert client.portal is not None
        for _ in range(2):
            client.portal.call(follower.look)
        [record] = caplog.records
        assert record.message.endswith("goes on answering: The store is not available.")
        assert made_by(client) == ("first", "first-weights")


def test_two_servers_on_one_store_follow_by_themselves(store_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anyone asking them to look, a promotion and a roll-back by a third process reach both."""
    monkeypatch.setattr("sayso.serve.follow.EVERY", 1.0)
    store, *stores = [Store(store_address) for _ in range(3)]
    assign(store, "first")
    clients = [TestClient(followed(one)[0], base_url=HERE) for one in stores]
    with clients[0], clients[1]:
        assert [made_by(client)[0] for client in clients] == ["first", "first"]
        assign(store, "second")
        assert answered_by(clients, "second")
        Aliases(store).roll_back("stable")
        assert answered_by(clients, "first")
    for one in (store, *stores):
        one.close()
