"""A canary: who gets the candidate, what is logged of it, and how it ends."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sql

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.canary import BAD, CANDIDATE, CURRENT, GOOD, CanaryLog, CanaryRecord
from sayso.feedback.tables import messages
from sayso.judge.canary import judge_canary
from sayso.serve.canary import Canary
from sayso.serve.follow import CanaryFollower

Assign = Callable[[str, str], Assignment]


@pytest.fixture
def bench(trial: Any) -> Iterator[Any]:
    """A served alias with a canary that gets half of the conversations."""
    with trial(record="all") as made:
        made.followers.append(CanaryFollower(made.candidate, made.models, 0.5, made.store))
        made.look()
        yield made


def rate(bench: Any, **rating: Any) -> None:
    """Rate a reply."""
    assert bench.client.post("/api/ratings", json=rating).status_code == 201


def logged(bench: Any) -> CanaryRecord:
    """Return what was logged."""
    assert bench.models.canary is not None
    while bench.models.canary._writing:
        pass
    found: CanaryRecord | None = bench.models.canary.log.read()
    assert found is not None
    return found


def test_a_share_of_the_conversations_keeps_the_candidate(bench: Any) -> None:
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


def test_other_routes_share_the_conversations_too(bench: Any) -> None:
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


def test_other_aliases_of_the_current_model_ask_for_the_same(bench: Any, assign: Assign) -> None:
    """They are accepted once the server has looked, and take part; one that names another model is not known."""
    users = [f"user {number}" for number in range(12)]
    body = {"model": "production", "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2}
    assign("production", "old")
    bench.look()
    first = [bench.ask(user, model="production") for user in users]
    assert set(first) == {"old", "new"}
    assert [bench.ask(user, model="stable") for user in users] == [bench.ask(user) for user in users] == first
    assert [len(one) for one in logged(bench).outcomes.failed] == [first.count("old"), first.count("new")]
    listed = bench.client.get("/v1/models").json()["data"]
    assert [(one["id"], one.get("parent")) for one in listed][-1] == ("production", "old")
    assert bench.client.get("/v1/models/production").json()["parent"] == "old"
    assign("production", "other")
    bench.look()
    assert bench.client.post("/v1/chat/completions", json=body).status_code == 404


def test_the_metrics_of_both_models_are_read_together(bench: Any) -> None:
    bench.ask(model="stable")
    text = bench.client.get("/metrics").text
    assert text.count("# TYPE vllm:generation_tokens_total counter") == 1
    assert 'vllm:generation_tokens_total{model_name="old"}' in text
    assert 'vllm:generation_tokens_total{model_name="new"}' in text


def test_conversations_and_their_first_ratings_are_logged(bench: Any) -> None:
    """On the page by their number: the model that made a reply is the one that the conversation keeps."""
    replies = [bench.talk()[1] for _ in range(12)]
    arms = {reply["conversation_id"]: reply["model"] for reply in replies}
    assert set(arms.values()) == {"old", "new"}
    for reply in replies:
        good = reply["model"] == "new"
        rate(bench, kind="thumb", message_id=reply["id"], value=1 if good else -1)
        rate(bench, kind="thumb", message_id=reply["id"], value=-1 if good else 1)
    record, many = logged(bench), list(arms.values()).count("new")
    assert record.outcomes.liked == ([False] * (12 - many), [True] * many)
    assert record.outcomes.failed == ([False] * (12 - many), [False] * many)
    other = bench.talk()[1]
    rate(bench, kind="edit", message_id=other["id"], text="no")
    assert logged(bench).outcomes.liked[other["model"] == "new"][-1] is False


def test_ratings_of_recorded_replies_of_the_api_are_logged(bench: Any) -> None:
    """Under the user of the request, once; a request that named its model did not take part."""
    users = [f"user {number}" for number in range(12)]
    arms = [bench.ask(user) for user in users]
    for user in users[:2]:
        assert bench.ask(user) == arms[users.index(user)], "a second conversation of the same user"
        bench.ask(user, model="new")

    def recorded() -> list[Any]:
        with bench.store.engine.begin() as connection:
            return [*connection.execute(sql.select(messages.c.id, messages.c.model))]

    for number, model in bench.wait(recorded, lambda rows: len(rows) == 16):
        rate(bench, kind="thumb", message_id=number, value=1 if model == "new" else -1)
    outcomes = logged(bench).outcomes
    assert outcomes.liked == ([False] * arms.count("old"), [True] * arms.count("new"))
    assert [len(one) for one in outcomes.failed] == [arms.count("old"), arms.count("new")]


def test_the_state_of_a_canary_is_in_the_metrics(bench: Any) -> None:
    """What this server has logged by model, and the evidence of the last look."""
    replies = [bench.talk()[1] for _ in range(8)]
    for reply in replies:
        rate(bench, kind="thumb", message_id=reply["id"], value=1 if reply["model"] == "new" else -1)
    seen = logged(bench).outcomes
    old, new = (len(one) for one in seen.failed)
    assert bench.metrics("sayso:canary_conversations_total") == {("candidate", "new"): new, ("current", "old"): old}
    outcomes = bench.metrics("sayso:canary_outcomes_total")
    assert {labels: count for labels, count in outcomes.items() if count} == {
        ("candidate", "new", "good"): new,
        ("current", "old", "bad"): old,
    }
    before = {("better",): 1.0, ("worse",): 1.0, ("mismatch",): 1.0}
    assert bench.metrics("sayso:canary_e_value") == pytest.approx(before)
    fill(bench.models.canary.log, CANDIDATE, CURRENT)
    bench.look()
    verdict = judge_canary(logged(bench).outcomes, 0.5)
    logs = {"better": verdict.log_better, "worse": verdict.log_worse, "mismatch": verdict.log_mismatch}
    shown = bench.metrics("sayso:canary_e_value")
    assert shown == pytest.approx({(name,): math.exp(log) for name, log in logs.items()})
    assert shown["better",] > 20 > 1 > shown["worse",]


def test_the_page_may_name_the_alias_too(bench: Any) -> None:
    """The conversation keeps its model; the other one, named by itself, answers once, and its rating does not count."""
    for reply in [bench.talk()[1] for _ in range(4)]:
        other = "old" if reply["model"] == "new" else "new"
        for name, model in (("stable", reply["model"]), (reply["model"], reply["model"]), (other, other)):
            body = {"message_id": reply["parent_id"], "max_tokens": 2, "model": name}
            assert f'"model":"{model}"' in bench.client.post("/api/replies", json=body).text
        shown = bench.client.get(f"/api/conversations/{reply['conversation_id']}").json()["turns"][1]
        assert shown["model"] == other
        rate(bench, kind="thumb", message_id=shown["id"], value=1)
    outcomes = logged(bench).outcomes
    assert (sum(map(len, outcomes.failed)), outcomes.liked) == (4, ([], []))


def test_a_choice_between_the_models_is_logged(bench: Any) -> None:
    """Both replies to one message: the one of the current model was made before the canary."""
    canary = bench.models.canary
    reply = next(reply for reply in iter(lambda: bench.talk()[1], None) if reply["model"] == "new")
    bench.models.canary = None
    bench.client.post("/api/replies", json={"message_id": reply["parent_id"], "max_tokens": 2})
    bench.models.canary = canary
    turns = bench.client.get(f"/api/conversations/{reply['conversation_id']}").json()["turns"]
    assert turns[1]["model"] == "old"
    pair = {"chosen_id": reply["id"], "rejected_id": turns[1]["id"]}
    rate(bench, kind="choice", **pair, better=False)
    assert logged(bench).outcomes.preferred == (0, 0)
    rate(bench, kind="choice", **pair)
    assert logged(bench).outcomes.preferred == (0, 1)


def test_failures_of_the_server_are_logged_and_mistakes_of_clients_are_not(bench: Any, hook: Any) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    canary = bench.models.canary
    assert canary is not None
    ask = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2}
    assert bench.client.post("/v1/chat/completions", json=ask | {"top_k": -3, "user": "a"}).status_code == 400
    hook(canary.served.worker.engine, fail)
    for number in range(10):
        bench.client.post("/v1/chat/completions", json=ask | {"user": f"user {number}"})
    current, candidate = logged(bench).outcomes.failed
    assert (current, candidate) == ([False] * len(current), [True] * len(candidate))
    assert len(current) + len(candidate) == 10


def fill(log: CanaryLog, good: str, bad: str) -> None:
    """Log what ends in a decision: one model is liked, the other is not."""
    for number in range(30):
        for arm, outcome in ((good, GOOD), (bad, BAD)):
            log.add(arm, f"{arm} {number}")
            log.add(arm, f"{arm} {number}", outcome)


def test_a_worse_candidate_is_rolled_back_by_itself(
    bench: Any, assign: Assign, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert bench.ask("user 1", model="candidate") == "old", "a client that names the alias is still answered"
    bench.look()
    assert len(Aliases(bench.store).history("candidate")) == 2
    assign("candidate", "newer")
    bench.look()
    canary: Canary | None = bench.models.canary
    assert canary is not None
    assert canary.served.name == "newer"
    assert logged(bench).outcomes.liked == ([], [])


def test_a_better_candidate_is_announced_but_not_promoted(
    bench: Any, assign: Assign, caplog: pytest.LogCaptureFixture
) -> None:
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
    assign("stable", "new")
    bench.look()
    assert bench.models.canary is None
    assert {bench.ask(f"user {number}") for number in range(6)} == {"new"}


def test_a_promotion_begins_the_comparison_anew(bench: Any, assign: Assign) -> None:
    """The candidate stays loaded; what it was compared with counts no more."""
    before = bench.models.canary
    assert before is not None
    before.log.add(CURRENT, "a", BAD)
    while assign("stable", "newer").created_at == before.entry.created_at:
        pass
    bench.look()
    after = bench.models.canary
    assert after is not None
    assert after is not before
    assert after.served is before.served
    assert bench.models.main.name == "newer"
    assert logged(bench).outcomes.liked == ([], [])
