"""A shadow: it answers what the page asks, too, unseen; and nothing that goes wrong with it is noticed."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.candidates import Candidates, CandidateSet
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.sampling import Sampling
from sayso.serve.app import make_app
from sayso.serve.follow import Follow, Following, ShadowFollower
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels, start_model
from sayso.serve.shadow import PAUSE, ShownReply

HERE = "http://127.0.0.1"
Hook = Callable[[Engine, Callable[[], object]], None]


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the application itself never look, so that a test decides when."""
    monkeypatch.setattr("sayso.serve.follow.EVERY", 3600.0)


@dataclass
class Bench:
    """A served alias with a shadow."""

    client: TestClient
    store: Store
    models: ServedModels
    follower: ShadowFollower

    def look(self) -> None:
        """As happens once a second."""
        assert self.client.portal is not None
        self.client.portal.call(self.follower.look)

    def talk(self) -> list[dict[str, Any]]:
        """Return the turns of a new conversation on the page."""
        talk = self.client.post("/api/conversations").json()["id"]
        said = self.client.post("/api/messages", json={"conversation_id": talk, "content": "the cat"}).json()["id"]
        self.client.post("/api/replies", json={"message_id": said, "max_tokens": 3, "seed": 5})
        turns: list[dict[str, Any]] = self.client.get(f"/api/conversations/{talk}").json()["turns"]
        return turns

    def sets(self, many: int) -> list[CandidateSet]:
        """Return the sets as soon as there are that many."""
        return wait(lambda: Candidates(self.store).sets("shadow"), lambda found: len(found) >= many)


def wait(look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """Return what there is once it is enough."""
    end = time.monotonic() + 60
    while not enough(found := look()) and time.monotonic() < end:
        pass
    assert enough(found)
    return found


def assign(store: Store, alias: str, model: str) -> Assignment:
    aliases = Aliases(store)
    return aliases.assign(alias, model, f"{model}-all", after=aliases.current(alias))


@pytest.fixture
def bench(replier: Replier, store: Store) -> Iterator[Bench]:
    def load(entry: Assignment) -> ServedModel:
        mark = f"{entry.model}-weights"
        return start_model(replier, entry.model, mark, Engine(replier.model, rows=4), 16, entry.alias)

    aliases, stable, candidate = Aliases(store), assign(store, "stable", "old"), assign(store, "candidate", "new")
    follow = Follow(stable, lambda: aliases.current("stable"), load)
    unseen = Follow(candidate, lambda: aliases.current("candidate"), load)
    engine, options = Engine(replier.model, rows=4), {"fingerprint": "old-weights", "record": "all"}
    app = make_app(replier, store, "old", engine=engine, following=Following(follow), **options)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        made = Bench(client, store, app.state.models, ShadowFollower(unseen, app.state.models, store))
        made.look()
        yield made


def test_both_replies_are_kept_and_one_is_seen(bench: Bench) -> None:
    """With the same prompt, settings and seed, so that a person or a judge can choose between them."""
    turns = bench.talk()
    assert [turn.get("model") for turn in turns] == [None, "old"]
    [found] = bench.sets(1)
    assert set(found.replies) == {"old", "new"}
    assert found.replies["old"] == turns[1]["id"]
    shown, unseen = (bench.store.message(found.replies[name]) for name in ("old", "new"))
    assert shown.generation is not None
    assert unseen.generation is not None
    assert (unseen.generation.model, unseen.generation.fingerprint) == ("new", "new-weights")
    assert unseen.generation.sampling == shown.generation.sampling
    assert unseen.prompt == shown.prompt
    assert unseen.content == shown.content, "in this test, both have the same weights"
    assert unseen.conversation_id == shown.conversation_id
    talk = bench.client.get(f"/api/conversations/{shown.conversation_id}").json()["turns"]
    assert [turn["id"] for turn in talk] == [turn["id"] for turn in turns]
    assert [one["id"] for one in bench.client.get("/v1/models").json()["data"]] == ["old", "stable"]
    assert bench.store.choose(unseen.id, shown.id).value == 1


def test_recorded_replies_of_the_api_have_a_shadow(bench: Bench) -> None:
    """Except where the reply was not free, or could not be asked again with a conversation alone."""
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "the dog"}], "max_tokens": 3, "seed": 2}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for more in (
        {"response_format": {"type": "json_object"}},
        {"tools": [tool], "tool_choice": "none"},
        {"logit_bias": {"7": 1}},
        {"n": 2},
    ):
        assert bench.client.post("/v1/chat/completions", json=ask | more).status_code == 200
    assert bench.client.post("/v1/completions", json={"prompt": "the", "max_tokens": 3}).status_code == 200
    said = bench.client.post("/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"]
    found = bench.sets(2)
    assert len(found) == 2, "of two replies to one request, and of the last"
    shown, unseen = (bench.store.message(found[1].replies[name]) for name in ("old", "new"))
    assert shown.content == unseen.content == said
    assert shown.prompt == unseen.prompt == ask["messages"]
    assert shown.conversation_id == unseen.conversation_id
    assert bench.store.choose(unseen.id, shown.id).value == 1


def test_a_shadow_begins_when_the_real_model_is_idle(bench: Bench, hook: Hook) -> None:
    begun, held, go = list[bool](), threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(60)

    shadow = bench.models.shadow
    assert shadow is not None
    first = bench.talk()
    bench.sets(1)
    hook(shadow.served.worker.engine, lambda: begun.append(go.is_set()))
    hook(bench.models.main.worker.engine, hold)
    other = threading.Thread(target=bench.talk)
    other.start()
    assert held.wait(60)
    assert bench.client.portal is not None
    bench.client.portal.call(follow_again, bench, first[1]["id"])
    assert not begun
    go.set()
    other.join(60)
    bench.sets(3)
    assert begun
    assert all(begun)


async def follow_again(bench: Bench, message_id: int) -> None:
    """Ask for the shadow of a reply, and give it time to begin."""
    message = bench.store.message(message_id)
    assert bench.models.shadow is not None
    assert message.prompt is not None
    assert message.generation is not None
    sampling = Sampling(**message.generation.sampling)
    bench.models.shadow.follow(ShownReply(message.id, message.conversation_id, message.prompt, sampling, "old"))
    for _ in range(3):
        await asyncio.sleep(PAUSE)


def test_a_shadow_that_fails_is_only_logged(bench: Bench, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    shadow = bench.models.shadow
    assert shadow is not None
    before = shadow.served.worker.engine.runners[""]
    hook(shadow.served.worker.engine, fail)
    with caplog.at_level(logging.WARNING, "sayso.serve.shadow"):
        assert bench.talk()[1]["model"] == "old"
        wait(lambda: list(caplog.records), bool)
    assert [record.message for record in caplog.records] == ["The shadow 'new' could not answer: broken"]
    shadow.served.worker.engine.runners[""] = before
    bench.talk()
    assert len(bench.sets(1)) == 1, "it goes on"


def test_replies_are_left_out_while_too_many_wait(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = bench.models.shadow
    assert shadow is not None
    monkeypatch.setattr(shadow, "_busy", lambda: True)
    monkeypatch.setattr(shadow._waiting, "_maxsize", 1)
    with caplog.at_level(logging.WARNING, "sayso.serve.shadow"):
        for _ in range(4):
            assert bench.talk()[1]["model"] == "old"
        wait(lambda: shadow.left_out, lambda many: many >= 2)
    assert caplog.records[0].message == "Replies without a shadow so far, because it is too slow: 1."


def test_a_shadow_follows_its_alias(bench: Bench) -> None:
    """It ends when its model becomes the current one, and its engine's thread with it."""
    bench.talk()
    bench.sets(1)
    assert bench.models.shadow is not None
    thread = bench.models.shadow.served.worker._thread
    assert thread is not None
    assign(bench.store, "candidate", "newer")
    bench.look()
    thread.join(60)
    assert not thread.is_alive()
    bench.talk()
    assert set(bench.sets(2)[1].replies) == {"old", "newer"}
    assign(bench.store, "candidate", "old")
    bench.look()
    assert bench.models.shadow is None
    bench.talk()
    assert len(bench.sets(2)) == 2
