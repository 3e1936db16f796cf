"""The routes of the screen Diagnose: what they take, refuse and return."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.feedback.cases import cases_of
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.keys import Keys
from sayso.feedback.store import Generation, Store

API = "/api/diagnose"
MADE = Generation("tuned", "f" * 12, {}, "stop", 3, 2, 0.1)
HOSTILE = "<img src=x onerror=alert(1)> \u2028 **b** \x00"
Post = Callable[[str, Any], Any]


@pytest.fixture
def replies(store: Store) -> list[int]:
    """Five replies, one in each conversation; the first is empty and flagged."""
    found = []
    for number in range(5):
        said = store.say(store.new_conversation().id, f"question {number}")
        found.append(store.reply(said.id, f"{HOSTILE} {number}" if number else "", store.prompt(said.id), MADE).id)
    [*Flags(store).scan([DETECTORS["empty"]])]
    return found


@pytest.fixture
def post(client: TestClient) -> Post:
    """Send a body that is accepted; return the answer."""

    def send(path: str, body: Any) -> Any:
        answer = client.post(API + path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    return send


def test_a_sample_is_drawn_read_noted_and_counted(client: TestClient, replies: list[int], post: Post) -> None:
    """From the list of samples to rates, cases and a draft."""
    drawn = post("/samples", {"size": 4, "seed": 3, "name": "first"})
    assert (drawn["size"], drawn["matched"], drawn["read"], drawn["filters"]) == (4, 5, 0, {})
    listed = client.get(f"{API}/samples").json()
    assert listed == {"samples": [drawn], "models": ["tuned"], "detectors": ["empty"]}
    assert post("/samples/1/readings", {"position": 1})["read"] == 1
    items = client.get(f"{API}/samples/1").json()["items"]
    assert [(one["position"], one["read"], one["notes"]) for one in items] == [
        (1, True, 0), (2, False, 0), (3, False, 0), (4, False, 0),
    ]  # fmt: skip
    [asked, said] = client.get(f"{API}/samples/1/conversations/1").json()["turns"]
    assert asked["role"] == "user"
    note = post("/notes", {"message_id": said["message_id"], "text": "rude tone"})
    kind = post("/categories", {"name": "Rude", "definition": "It has a rude tone."})
    [other] = client.get(f"{API}/samples/1/notes").json()["notes"]
    assert [near["category_id"] for near in other["near"]] == [kind["id"]]
    post("/groups", {"notes": [note["id"]], "category_id": kind["id"]})
    [rates] = client.get(f"{API}/samples/1/rates").json()["categories"]
    assert rates["category"]["function"] == "rude"
    assert (rates["whole"]["count"], rates["whole"]["of"]) == (1, 1)
    assert rates["whole"]["low"] == pytest.approx(0.2065, abs=1e-4)
    assert rates["models"] == {"tuned": rates["whole"]}
    assert post("/cases", {"notes": [note["id"]], "check": "rude"}) == {"cases": 1}
    draft = client.get(f"{API}/samples/1/categories/1/detector?kind=judge").json()
    assert draft["name"] == "rude_judge.py"
    assert client.delete(f"{API}/samples/1").status_code == 204
    assert client.get(f"{API}/samples/1").status_code == 404


def test_what_is_shown_of_a_reply_is_safe(client: TestClient, replies: list[int], post: Post, store: Store) -> None:
    """Markdown becomes HTML without the model's own tags; notes and names come back as text."""
    post("/samples", {"size": 5, "seed": 0, "name": HOSTILE})
    note = post("/notes", {"message_id": replies[1], "text": HOSTILE})
    kind = post("/categories", {"name": HOSTILE})
    assert note["text"] == HOSTILE.replace("\x00", "\ufffd")
    assert kind["name"] == "<img src=x onerror=alert(1)> **b** \ufffd"
    post("/groups", {"notes": [note["id"]], "category_id": kind["id"]})
    shown = [
        turn
        for place in range(1, 6)
        for turn in client.get(f"{API}/samples/1/conversations/{place}").json()["turns"]
        if turn["role"] == "assistant"
    ]
    assert all("<img" not in turn["html"] for turn in shown)
    [noted] = [turn for turn in shown if turn["notes"]]
    assert "&lt;img" in noted["html"]
    assert "<strong>b</strong>" in noted["html"]
    assert noted["notes"][0]["category"] == kind["name"]
    [flagged] = [turn for turn in shown if turn["flags"]]
    assert flagged["flags"][0]["detector"] == "empty"


def test_a_draft_holds_hostile_text_as_literals(client: TestClient, replies: list[int], post: Post) -> None:
    """It compiles, and nothing but its own names is in it."""
    evil = 'x"""\r\nimport os; os.abort()\n\'\'\' \\" # {0}'
    post("/samples", {"size": 5, "seed": 0})
    note = post("/notes", {"message_id": replies[0], "text": evil})
    kind = post("/categories", {"name": evil, "definition": evil})
    post("/groups", {"notes": [note["id"]], "category_id": kind["id"]})
    for draft in ("python", "judge"):
        text = client.get(f"{API}/samples/1/categories/1/detector?kind={draft}").json()["text"]
        code = compile(text, "draft", "exec")
        assert "os" not in code.co_names


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/samples", {"size": 0}, 400, "'size'"),
        ("/samples", {"size": 1001}, 400, "'size'"),
        ("/samples", {"only": "angry"}, 400, "'only'"),
        ("/samples", {"since": "2026-02-30"}, 400, "'since' must be a day"),
        ("/samples", {"model": "none"}, 400, "No conversation with a reply matches"),
        ("/samples", {"colour": 1}, 400, "colour"),
        ("/samples/9/readings", {"position": 1}, 404, "no conversation 1"),
        ("/notes", {"message_id": 2, "text": ""}, 400, "'text'"),
        ("/notes", {"message_id": 2, "text": " \n"}, 400, "must not be empty"),
        ("/notes", {"message_id": 2, "text": "x" * 2001}, 400, "'text'"),
        ("/notes", {"message_id": 1, "text": "x"}, 404, "no reply 1"),
        ("/notes", {"message_id": 2**31, "text": "x"}, 400, "'message_id'"),
        ("/notes/9", {"text": "x"}, 404, "no note 9"),
        ("/groups", {"notes": [], "category_id": None}, 400, "'notes'"),
        ("/groups", {"notes": [9], "category_id": None}, 404, "no note 9"),
        ("/categories", {"name": " "}, 400, "1 to 100 characters"),
        ("/categories/9", {"name": "x"}, 404, "no category 9"),
        ("/cases", {"notes": [9]}, 404, "no note 9"),
    ],
)  # fmt: skip
def test_bad_requests_are_one_sentence(
    client: TestClient, replies: list[int], path: str, body: Any, status: int, said: str
) -> None:
    """With the field or the row that is wrong; nothing is stored."""
    answer = client.post(API + path, json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert client.get(f"{API}/samples").json()["samples"] == []


def test_a_check_that_is_not_known_makes_no_case(
    client: TestClient, replies: list[int], post: Post, store: Store
) -> None:
    note = post("/notes", {"message_id": replies[1], "text": "rude"})
    answer = client.post(f"{API}/cases", json={"notes": [note["id"]], "check": "lop"})
    assert answer.status_code == 400
    assert "did you mean 'loop'?" in answer.json()["error"]["message"].lower()
    assert cases_of(store) == []


def test_what_is_written_has_the_name_of_the_key(
    client: TestClient, replies: list[int], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that colleagues know whom to ask."""
    monkeypatch.setattr("sayso.serve.keyring.FRESH", 0.0)
    _, key = Keys(store).add("ann", "rater")
    headers = {"authorization": f"Bearer {key}"}
    made = client.post(f"{API}/samples", json={"size": 1, "seed": 1}, headers=headers).json()
    note = client.post(f"{API}/notes", json={"message_id": replies[0], "text": "x"}, headers=headers).json()
    assert (made["annotator"], note["annotator"]) == ("ann", "ann")


def test_two_people_who_read_and_note_at_once_lose_nothing(
    client: TestClient, replies: list[int], post: Post, store: Store
) -> None:
    """Every note is kept, every conversation is read once, and the same new category is made once."""
    post("/samples", {"size": 5, "seed": 1})

    def act(number: int) -> int:
        path, body = (
            ("/samples/1/readings", {"position": 1 + number // 2 % 5}),
            ("/notes", {"message_id": replies[number // 2 % 5], "text": f"note {number}"}),
        )[number % 2]
        assert client.post(API + path, json=body).status_code == 201
        return client.post(f"{API}/categories", json={"name": "Same"}).status_code

    with ThreadPoolExecutor(4) as pool:
        made = [*pool.map(act, range(20))]
    assert sorted(made)[:2] == [201, 400]
    assert client.get(f"{API}/samples/1").json()["sample"]["read"] == 5
    texts = [one["text"] for one in client.get(f"{API}/samples/1/notes").json()["notes"]]
    assert sorted(texts) == sorted(f"note {number}" for number in range(1, 20, 2))
