"""A canary: who gets the candidate, what is logged of it, and how it ends."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.canary import BAD, CANDIDATE, CURRENT, GOOD, CanaryLog, CanaryRecord
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.serve.canary import Canary
from sayso.serve.follow import CanaryFollower, Follow, Follower, Following
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels, start_model

HERE = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the application itself never look, so that a test decides when."""
    monkeypatch.setattr("sayso.serve.follow.EVERY", 3600.0)


@dataclass
class Bench:
    """A served alias with a canary, and what looks into the store for it."""

    client: TestClient
    store: Store
    models: ServedModels
    followers: list[Follower]

    def look(self) -> None:
        """As happens once a second."""
        assert self.client.portal is not None
        for follower in self.followers:
            self.client.portal.call(follower.look)

    def ask(self, user: str = "", **fields: Any) -> str:
        """Return which model answers a user."""
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2} | fields
        made = self.client.post("/v1/chat/completions", json=body | ({"user": user} if user else {})).json()
        assert made["system_fingerprint"] == f"{made['model']}-weights"
        return str(made["model"])

    def talk(self) -> dict[str, Any]:
        """Return the reply of a new conversation on the page."""
        talk = self.client.post("/api/conversations").json()["id"]
        said = self.client.post("/api/messages", json={"conversation_id": talk, "content": "the cat"}).json()["id"]
        self.client.post("/api/replies", json={"message_id": said, "max_tokens": 2})
        turns: list[dict[str, Any]] = self.client.get(f"/api/conversations/{talk}").json()["turns"]
        return turns[1]

    def rate(self, **rating: Any) -> None:
        """Rate a reply."""
        assert self.client.post("/api/ratings", json=rating).status_code == 201

    def record(self) -> CanaryRecord:
        """Return what was logged."""
        assert self.models.canary is not None
        while self.models.canary._writing:
            pass
        record = self.models.canary.log.read()
        assert record is not None
        return record


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
    tried = Follow(candidate, lambda: aliases.current("candidate"), load)
    engine = Engine(replier.model, rows=4)
    app = make_app(replier, store, "old", fingerprint="old-weights", engine=engine, following=Following(follow))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        models = app.state.models
        made = Bench(client, store, models, [Follower(follow, models), CanaryFollower(tried, models, 0.5, store)])
        made.look()
        yield made


def test_a_share_of_the_conversations_keeps_the_candidate(bench: Bench) -> None:
    """By the user of a request, or else its first message; a model that is named is not changed."""
    users = [f"user {number}" for number in range(60)]
    first = [bench.ask(user) for user in users]
    assert 15 < first.count("new") < 45
    assert [bench.ask(user, messages=[{"role": "user", "content": "a dog"}], model="stable") for user in users] == first
    assert {bench.ask(user, model="candidate") for user in users[:8]} == {"new"}
    assert {bench.ask(user, model="old") for user in users[:8]} == {"old"}
    begun = [{"role": "user", "content": "the dog"}]
    longer = [*begun, {"role": "assistant", "content": "the"}, {"role": "user", "content": "mat"}]
    assert bench.ask(messages=longer) == bench.ask(messages=begun)
    assert {bench.ask(messages=[{"role": "user", "content": f"the cat {n}"}]) for n in range(12)} == {"old", "new"}
    [listed] = [bench.client.get("/v1/models").json()["data"]]
    assert [one["id"] for one in listed] == ["old", "stable", "new", "candidate"]
    assert [bench.client.get(f"/v1/models/{one['id']}").status_code for one in listed] == [200] * 4
    gone = bench.client.post("/v1/chat/completions", json={"model": "other", "messages": begun})
    assert gone.status_code == 404


def test_other_routes_share_the_conversations_too(bench: Bench) -> None:
    """The same user gets the same model by each of them."""
    for number in range(6):
        user = f"user {number}"
        expected = bench.ask(user)
        bodies: dict[str, dict[str, Any]] = {
            "completions": {"prompt": "the", "max_tokens": 2, "user": user},
            "responses": {"input": "the", "max_output_tokens": 2, "user": user},
            "messages": {
                "model": "stable",
                "max_tokens": 2,
                "messages": [{"role": "user", "content": "the"}],
                "metadata": {"user_id": user},
            },
        }
        for route, body in bodies.items():
            assert bench.client.post(f"/v1/{route}", json=body).json()["model"] == expected


def test_the_metrics_of_both_models_are_read_together(bench: Bench) -> None:
    bench.ask(model="stable")
    text = bench.client.get("/metrics").text
    assert text.count("# TYPE vllm:generation_tokens_total counter") == 1
    assert 'vllm:generation_tokens_total{model_name="old"}' in text
    assert 'vllm:generation_tokens_total{model_name="new"}' in text


def test_conversations_and_their_first_ratings_are_logged(bench: Bench) -> None:
    """On the page by their number: the model that made a reply is the one that the conversation keeps."""
    replies = [bench.talk() for _ in range(12)]
    arms = {reply["conversation_id"]: reply["model"] for reply in replies}
    assert set(arms.values()) == {"old", "new"}
    for reply in replies:
        good = reply["model"] == "new"
        bench.rate(kind="thumb", message_id=reply["id"], value=1 if good else -1)
        bench.rate(kind="thumb", message_id=reply["id"], value=-1 if good else 1)
    record, many = bench.record(), list(arms.values()).count("new")
    assert record.outcomes.liked == ([False] * (12 - many), [True] * many)
    assert record.outcomes.failed == ([False] * (12 - many), [False] * many)
    other = bench.talk()
    bench.rate(kind="edit", message_id=other["id"], text="no")
    assert bench.record().outcomes.liked[other["model"] == "new"][-1] is False


def test_a_choice_between_the_models_is_logged(bench: Bench) -> None:
    """Both replies to one message: the one of the current model was made before the canary."""
    canary = bench.models.canary
    reply = next(reply for reply in iter(bench.talk, None) if reply["model"] == "new")
    bench.models.canary = None
    bench.client.post("/api/replies", json={"message_id": reply["parent_id"], "max_tokens": 2})
    bench.models.canary = canary
    turns = bench.client.get(f"/api/conversations/{reply['conversation_id']}").json()["turns"]
    assert turns[1]["model"] == "old"
    pair = {"chosen_id": reply["id"], "rejected_id": turns[1]["id"]}
    bench.rate(kind="choice", **pair, better=False)
    assert bench.record().outcomes.preferred == (0, 0)
    bench.rate(kind="choice", **pair)
    assert bench.record().outcomes.preferred == (0, 1)


def test_failures_of_the_server_are_logged_and_mistakes_of_clients_are_not(bench: Bench, hook: Any) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    canary = bench.models.canary
    assert canary is not None
    ask = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2}
    assert bench.client.post("/v1/chat/completions", json=ask | {"top_k": -3, "user": "a"}).status_code == 400
    hook(canary.served.worker.engine, fail)
    for number in range(10):
        bench.client.post("/v1/chat/completions", json=ask | {"user": f"user {number}"})
    current, candidate = bench.record().outcomes.failed
    assert (current, candidate) == ([False] * len(current), [True] * len(candidate))
    assert len(current) + len(candidate) == 10


def fill(log: CanaryLog, good: str, bad: str) -> None:
    """Log what ends in a decision: one model is liked, the other is not."""
    for number in range(30):
        for arm, outcome in ((good, GOOD), (bad, BAD)):
            log.add(arm, f"{arm} {number}")
            log.add(arm, f"{arm} {number}", outcome)


def test_a_worse_candidate_is_rolled_back_by_itself(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With the evidence as the reason; its engine is freed, and a new candidate begins from nothing."""
    assert bench.models.canary is not None
    fill(bench.models.canary.log, CURRENT, CANDIDATE)
    with caplog.at_level(logging.WARNING, "sayso.serve.follow"):
        bench.look()
    [said] = [record.message for record in caplog.records]
    assert said.startswith(
        "The canary 'new': worse. 0 of 30 rated conversations of the candidate were liked, and 30 of 30"
    )
    last = Aliases(bench.store).history("candidate")[-1]
    assert (last.kind, last.model, last.fingerprint) == ("rolled back", "old", "old-all")
    assert (last.reason or "").startswith("A canary found it worse than 'old': 0 of 30 rated conversations")
    assert last.evidence["state"] == "worse"
    bench.look()
    assert bench.models.canary is None
    assert {bench.ask(f"user {number}") for number in range(10)} == {"old"}
    bench.look()
    assert len(Aliases(bench.store).history("candidate")) == 2
    assign(bench.store, "candidate", "newer")
    bench.look()
    canary: Canary | None = bench.models.canary
    assert canary is not None
    assert canary.served.name == "newer"
    assert bench.record().outcomes.liked == ([], [])


def test_a_better_candidate_is_announced_but_not_promoted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Once; the canary ends when a person promotes it."""
    assert bench.models.canary is not None
    fill(bench.models.canary.log, CANDIDATE, CURRENT)
    with caplog.at_level(logging.WARNING, "sayso.serve.follow"):
        for number in range(2):
            bench.look()
            bench.models.canary.log.add(CANDIDATE, f"more {number}", GOOD)
    [said] = [record.message for record in caplog.records]
    assert said.startswith("The canary 'new': better. 30 of 30 rated conversations of the candidate were liked")
    assert bench.models.canary is not None
    assert Aliases(bench.store).history("stable")[-1].model == "old"
    assign(bench.store, "stable", "new")
    bench.look()
    assert bench.models.canary is None
    assert {bench.ask(f"user {number}") for number in range(6)} == {"new"}


def test_a_promotion_begins_the_comparison_anew(bench: Bench) -> None:
    """The candidate stays loaded; what it was compared with counts no more."""
    before = bench.models.canary
    assert before is not None
    before.log.add(CURRENT, "a", BAD)
    while assign(bench.store, "stable", "newer").created_at == before.entry.created_at:
        pass
    bench.look()
    after = bench.models.canary
    assert after is not None
    assert after is not before
    assert after.served is before.served
    assert bench.models.main.name == "newer"
    assert bench.record().outcomes.liked == ([], [])
