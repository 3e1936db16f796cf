"""A shadow: it answers what the page asks, too, unseen; and nothing that goes wrong with it is noticed."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sayso.feedback.aliases import Assignment
from sayso.feedback.candidates import Candidates, CandidateSet
from sayso.sample.engine import Engine
from sayso.sample.sampling import Sampling
from sayso.serve.follow import ShadowFollower
from sayso.serve.shadow import PAUSE, ShownReply

Assign = Callable[[str, str], Assignment]
Hook = Callable[[Engine, Callable[[], object]], None]


def sets(bench: Any, many: int) -> list[CandidateSet]:
    """Return the sets as soon as there are that many."""
    found: list[CandidateSet] = bench.wait(
        lambda: Candidates(bench.store).sets("shadow"), lambda found: len(found) >= many
    )
    return found


@pytest.fixture
def bench(trial: Any) -> Iterator[Any]:
    """A served alias with a shadow."""
    with trial(record="all") as made:
        made.followers.append(ShadowFollower(made.candidate, made.models, made.store))
        made.look()
        yield made


def test_both_replies_are_kept_and_one_is_seen(bench: Any) -> None:
    """With the same prompt, settings and seed, so that a person or a judge can choose between them."""
    turns = bench.talk()
    assert [turn.get("model") for turn in turns] == [None, "old"]
    [found] = sets(bench, 1)
    assert [one.policy for one in found.replies] == ["old", "new"]
    assert found.replies[0].message_id == turns[1]["id"]
    shown, unseen = (bench.store.message(one.message_id) for one in found.replies)
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
    bench.wait(lambda: bench.metrics("sayso:shadow_replies_total")["new", "stored"], bool)
    assert bench.metrics("sayso:shadow_replies_total") == {
        ("new", "stored"): 1,
        ("new", "failed"): 0,
        ("new", "left_out"): 0,
    }


def test_recorded_replies_of_the_api_have_a_shadow(bench: Any) -> None:
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
    found = sets(bench, 2)
    assert len(found) == 2, "of two replies to one request, and of the last"
    shown, unseen = (bench.store.message(one.message_id) for one in found[1].replies)
    assert shown.content == unseen.content == said
    assert shown.prompt == unseen.prompt == ask["messages"]
    assert shown.conversation_id == unseen.conversation_id
    assert bench.store.choose(unseen.id, shown.id).value == 1


def test_a_shadow_begins_when_the_real_model_is_idle(bench: Any, hook: Hook) -> None:
    begun, held, go = list[bool](), threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(60)

    shadow = bench.models.shadow
    assert shadow is not None
    first = bench.talk()
    sets(bench, 1)
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
    sets(bench, 3)
    assert begun
    assert all(begun)


async def follow_again(bench: Any, message_id: int) -> None:
    """Ask for the shadow of a reply, and give it time to begin."""
    message = bench.store.message(message_id)
    assert bench.models.shadow is not None
    assert message.prompt is not None
    assert message.generation is not None
    sampling = Sampling(**message.generation.sampling)
    bench.models.shadow.follow(ShownReply(message.id, message.conversation_id, message.prompt, sampling, "old"))
    for _ in range(3):
        await asyncio.sleep(PAUSE)


def test_a_shadow_that_fails_is_only_logged(bench: Any, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    shadow = bench.models.shadow
    assert shadow is not None
    before = shadow.served.worker.engine.runners[""]
    hook(shadow.served.worker.engine, fail)
    with caplog.at_level(logging.WARNING, "sayso.serve.shadow"):
        assert bench.talk()[1]["model"] == "old"
        bench.wait(lambda: list(caplog.records), bool)
    assert [record.message for record in caplog.records] == ["The shadow 'new' could not answer: broken"]
    assert bench.metrics("sayso:shadow_replies_total")["new", "failed"] == 1
    shadow.served.worker.engine.runners[""] = before
    bench.talk()
    assert len(sets(bench, 1)) == 1, "it goes on"


def test_replies_are_left_out_while_too_many_wait(
    bench: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = bench.models.shadow
    assert shadow is not None
    monkeypatch.setattr(shadow, "_busy", lambda: True)
    monkeypatch.setattr(shadow._waiting, "_maxsize", 1)
    with caplog.at_level(logging.WARNING, "sayso.serve.shadow"):
        for _ in range(4):
            assert bench.talk()[1]["model"] == "old"
        bench.wait(lambda: shadow.left_out, lambda many: many >= 2)
    assert bench.metrics("sayso:shadow_replies_total")["new", "left_out"] == shadow.left_out
    assert bench.metrics("sayso:shadow_replies_waiting") == {("new",): 1}
    assert caplog.records[0].message == "Replies without a shadow so far, because it is too slow: 1."


def test_a_shadow_follows_its_alias(bench: Any, assign: Assign) -> None:
    """It ends when its model becomes the current one, and its engine's thread with it."""
    bench.talk()
    sets(bench, 1)
    assert bench.models.shadow is not None
    thread = bench.models.shadow.served.worker._thread
    assert thread is not None
    assign("candidate", "newer")
    bench.look()
    thread.join(60)
    assert not thread.is_alive()
    bench.talk()
    assert [one.policy for one in sets(bench, 2)[1].replies] == ["old", "newer"]
    assign("candidate", "old")
    bench.look()
    assert bench.models.shadow is None
    bench.talk()
    assert len(sets(bench, 2)) == 2
