"""The routes of the screen Watch: charts, the replies behind them, drift, trials, triage; and what they refuse."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.feedback.aliases import Aliases
from sayso.feedback.canary import CANDIDATE, GOOD, CanaryLog
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.keys import Keys
from sayso.feedback.measures import hour_of
from sayso.feedback.store import Store
from sayso.feedback.tables import now

Replied = Callable[..., int]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LOOP = "so it goes " * 20


def span(**more: Any) -> dict[str, Any]:
    """A query of the last 30 days."""
    end = hour_of(now()) + 1
    return {"start": end - 720, "end": end, **more}


def test_charts_are_by_period_and_group(client: TestClient, store: Store, replied: Replied) -> None:
    """Days begin at midnight of the reader; each model, each alias has its series; a filter leaves out the others."""
    Aliases(store).assign("stable", "one", "1" * 12, after=None)
    for place in range(6):
        replied(store, "Hi", "Hello", 24 * place, model=("one", "two")[place % 2], first=0.1 * place)
    plain = client.get("/api/watch", params=span()).json()
    assert (plain["models"], plain["aliases"], plain["behind"]) == (["one", "two"], ["stable"], 0)
    assert [mark["alias"] for mark in plain["marks"]] == ["stable"]
    points = plain["charts"]["replies"]["all"]
    assert [value for _, value, *_ in points] == [1] * 6
    assert all(at % 24 == 0 for at, *_ in points)
    shifted = client.get("/api/watch", params=span(shift=5)).json()["charts"]["replies"]["all"]
    assert all(at % 24 == 19 for at, *_ in shifted)
    weekly = client.get("/api/watch", params=span(period=168)).json()["charts"]["replies"]["all"]
    assert sum(value for _, value, *_ in weekly) == 6
    assert all((at + 72) % 168 == 0 for at, *_ in weekly)  # Mondays: 1970 began on a Thursday
    by_model = client.get("/api/watch", params=span(by="model")).json()
    assert {group: len(some) for group, some in by_model["charts"]["replies"].items()} == {"one": 3, "two": 3}
    assert by_model["totals"]["two"]["first_seconds"][0] == pytest.approx(0.3)
    assert by_model["totals"]["two"]["first_seconds:p50"] == [0.3, None, None, 3]
    assert plain["totals"]["all"]["first_seconds:p90"][0] == pytest.approx(0.5)
    assert [value for _, value, *_ in by_model["charts"]["first_seconds:p99"]["one"]] == pytest.approx([0.4, 0.2, 0])
    only = client.get("/api/watch", params=span(model="two")).json()
    assert only["totals"]["all"]["replies"][0] == 3
    assert only["models"] == ["one", "two"]
    by_alias = client.get("/api/watch", params=span(by="alias")).json()
    assert by_alias["totals"]["stable"]["replies"][0] == 1  # since it was promoted
    assert client.get("/api/watch", params=span(alias="stable")).json()["totals"]["all"]["replies"][0] == 1
    assert client.get("/api/watch", params=span(alias="nobody")).json()["totals"] == {}


def test_many_models_share_a_series(client: TestClient, store: Store, replied: Replied) -> None:
    """All but the six with the most replies."""
    for place in range(8):
        for _ in range(8 - place):
            replied(store, "Hi", "Hello", model=f"m{place}")
    found = client.get("/api/watch", params=span(by="model")).json()["totals"]
    assert {name: one["replies"][0] for name, one in found.items()} == {
        **{f"m{place}": 8 - place for place in range(6)}, "other models": 3,
    }  # fmt: skip


def test_a_reply_is_seen_with_all_that_is_known(client: TestClient, store: Store, replied: Replied) -> None:
    """Of the API, too; its text is safe HTML, what was asked is text."""
    number = replied(store, HOSTILE, f"**Hi** {HOSTILE}", route="/v1/messages")
    store.thumb(number, -1, comment=HOSTILE)
    store.note(number, "copied")
    list(Flags(store).scan([DETECTORS["cut-off"], DETECTORS["loop"]]))
    [one] = client.get("/api/watch/replies", params=span()).json()["replies"]
    assert (one["id"], one["asked"], one["on_page"]) == (number, HOSTILE, False)
    seen = client.get("/api/watch/reply", params={"id": number}).json()
    assert seen["turns"] == [{"role": "user", "text": HOSTILE}]
    assert "<strong>Hi</strong>" in seen["html"]
    assert "<script" not in seen["html"]
    assert "onerror" not in seen["html"].replace("onerror=alert(2)&gt;", "")
    assert (seen["route"], seen["on_page"], seen["signals"]) == ("/v1/messages", False, ["copied"])
    assert [(given["value"], given["comment"]) for given in seen["ratings"]] == [(-1, HOSTILE)]


def test_the_list_has_pages(client: TestClient, store: Store, replied: Replied) -> None:
    numbers = [replied(store, "Hi", "Hello") for _ in range(5)]
    pages = [client.get("/api/watch/replies", params=span(skip=skip, limit=2)).json() for skip in (0, 2, 4)]
    assert [one["id"] for page in pages for one in page["replies"]] == numbers[::-1]
    assert [page["more"] for page in pages] == [True, True, False]


def test_drift_compares_two_weeks(client: TestClient, store: Store, replied: Replied) -> None:
    """What was asked has changed, what was answered has not."""
    for place in range(20):
        replied(store, f"Tell me about cats {place}", "Well, that depends.", 20)
        replied(store, f"Solve this equation {place}", "Well, that depends.", 400)
    end = span()["end"]
    found = client.get("/api/watch/drift", params={"end": end, "reference": end - 336}).json()
    asked, answered = found["asked"], found["answered"]
    assert asked["drift"]["p"] == 0.001
    assert "cats" in asked["drift"]["more"]
    assert "equation" in asked["drift"]["fewer"]
    assert (answered["drift"]["divergence"], answered["drift"]["p"]) == (0, 1)
    assert asked["talks"] == {"now": 20, "before": 20}
    assert asked["words"]["now"][0] == 5
    nothing = client.get("/api/watch/drift", params={"end": 200, "reference": 100}).json()
    assert (nothing["asked"]["drift"], nothing["asked"]["words"]["now"][0]) == (None, None)


def test_trials_tell_the_verdict(client: TestClient, store: Store) -> None:
    """Of the canary, as the server itself judges it."""
    aliases = Aliases(store)
    stable = aliases.assign("stable", "one", "1" * 12, after=None)
    log = CanaryLog(store, aliases.assign("candidate", "two", "2" * 12, after=None))
    log.begin(stable, 0.5)
    for place in range(3):
        log.add(CANDIDATE, str(place))
        log.add(CANDIDATE, str(place), GOOD)
    [found] = client.get("/api/watch/trials", params=span()).json()["canaries"]
    assert (found["model"], found["runs"], found["state"]) == ("two", True, "undecided")
    assert (found["candidate"]["talks"], found["candidate"]["liked"][0]) == (3, 1)
    assert found["current"]["liked"] == [None, None, None, 0]
    assert "3 of 3 rated conversations" in found["said"]


def test_a_flag_is_triaged_by_name(
    client: TestClient, store: Store, replied: Replied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the open ones; the key's name says who; an unknown one and an unknown state are refused."""
    monkeypatch.setattr("sayso.serve.keyring.FRESH", 0.0)
    replied(store, "Hi", LOOP)
    list(Flags(store).scan([DETECTORS["loop"]]))
    _, key = Keys(store).add("anna", "rater")
    client.headers["authorization"] = f"Bearer {key}"
    [flag] = client.get("/api/flags").json()["flags"]
    marked = client.post("/api/flags", json={"flag_id": flag["id"], "state": "real", "reason": HOSTILE})
    assert marked.status_code == 201
    assert (marked.json()["state"], marked.json()["annotator"], marked.json()["reason"]) == (
        "real",
        "anna",
        HOSTILE,
    )
    assert client.get("/api/flags").json() == {"flags": [], "counts": {"loop": {"real": 1}}}
    assert len(client.get("/api/flags", params={"state": "all", "detector": "loop"}).json()["flags"]) == 1
    assert client.post("/api/flags", json={"flag_id": 99, "state": "real"}).status_code == 404
    good = {"flag_id": 1, "state": "real"}
    for bad in ({"state": "odd"}, {"flag_id": 2**40}, {"reason": "x" * 2001}, {"odd": 1}, {"flag_id": None}):
        assert client.post("/api/flags", json=good | bad).status_code == 400


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("", {}),
        ("", span(end=5, start=5)),
        ("", span(period=1, start=0)),
        ("", span(period=7)),
        ("", span(shift=99)),
        ("", span(by="nobody")),
        ("", span(odd=1)),
        ("", span(start=-1)),
        ("", span(end=2**40)),
        ("", span(model="")),
        ("", span(model="x" * 201)),
        ("/replies", span(kind="odd")),
        ("/replies", span(kind="flag:" + "x" * 70)),
        ("/replies", span(kind="' OR 1=1 --")),
        ("/replies", span(limit=1000)),
        ("/replies", span(skip=-1)),
        ("/reply", {"id": 0}),
        ("/reply", {"id": 2**70}),
        ("/reply", {}),
        ("/drift", {"end": 5}),
        ("/trials", {"start": "x", "end": 3}),
    ],
)
def test_a_bad_query_is_told_in_a_sentence(client: TestClient, path: str, query: dict[str, Any]) -> None:
    answer = client.get(f"/api/watch{path}", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(".")


def test_a_missing_reply_is_told(client: TestClient, store: Store) -> None:
    assert client.get("/api/watch/reply", params={"id": 7}).json()["error"]["message"] == "There is no message 7."
    store.say(store.new_conversation().id, "Hello")
    assert "is the user's" in client.get("/api/watch/reply", params={"id": 1}).json()["error"]["message"]


@pytest.mark.parametrize("name", [HOSTILE, "x:y", "' OR 1=1 --", "\u2028", "模型"])
def test_any_name_of_a_model_is_a_value(client: TestClient, store: Store, replied: Replied, name: str) -> None:
    """In filters and in series."""
    replied(store, "Hi", "Hello", model=name)
    replied(store, "Hi", "Hello")
    found = client.get("/api/watch", params=span(by="model", model=name)).json()
    assert {group: one["replies"][0] for group, one in found["totals"].items()} == {name: 1}
    assert len(client.get("/api/watch/replies", params=span(model=name)).json()["replies"]) == 1
