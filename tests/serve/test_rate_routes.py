"""The routes of the screen Rate: who may do what, what is refused, what stays unknown until a person has chosen."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.feedback.guidelines import Guidelines, read_guidelines
from sayso.feedback.keys import Keys
from sayso.feedback.queue import GivenReply, add_pairs, add_prompts
from sayso.feedback.store import Generation, Store
from sayso.reply import Replier
from sayso.serve.app import make_app

HERE = "http://127.0.0.1"
HOSTILE = "<img src=x onerror=alert(1)>"


def listed(store: Store, count: int = 1) -> None:
    for number in range(count):
        asked = [{"role": "user", "content": f"<b>{number}</b>"}]
        add_pairs(store, "list", [(asked, GivenReply("secret-a", f"*A* {HOSTILE}"), GivenReply("secret-b", "B"))])


def post(client: TestClient, path: str, **body: Any) -> Any:
    return client.post(f"/api/{path}", json=body)


def test_a_pair_says_nothing_of_its_models_until_it_is_chosen(client: TestClient, store: Store) -> None:
    """Neither names nor numbers of messages; replies are safe HTML, the prompt is text."""
    listed(store)
    told = post(client, "rate/take", annotator="ann", act="compare")
    assert "secret" not in told.text
    task = told.json()["task"]
    assert {*task} == {"review", "act", "list", "prompt", "replies", "text", "draft"}
    assert task["prompt"] == [{"role": "user", "text": "<b>0</b>"}]
    shown = {reply["html"].strip() for reply in task["replies"]}
    assert shown == {"<p><em>A</em> &lt;img src=x onerror=alert(1)&gt;</p>", "<p>B</p>"}
    assert task["text"] is None
    said = post(client, "rate/compare", annotator="ann", review=task["review"], better="left", left_tags=["rude"])
    left = "secret-a" if "<em>A" in task["replies"][0]["html"] else "secret-b"
    assert said.json()["models"]["left"] == left
    assert {*said.json()["models"].values()} == {"secret-a", "secret-b"}
    again = post(client, "rate/compare", annotator="ann", review=task["review"], better="left")
    assert (again.status_code, again.json()["error"]["message"]) == (
        400, "You have finished this item already; undo it to change your verdict.",
    )  # fmt: skip


def test_a_regenerated_reply_of_the_page_is_offered(client: TestClient, store: Store) -> None:
    """Without anything to be set up."""
    said = store.say(store.new_conversation().id, "Hello")
    for text in ("Hi", "Ho"):
        store.reply(said.id, text, store.prompt(said.id), Generation("tuned", "0" * 12, {}, "length", 1, 1, 0.1))
    task = post(client, "rate/take", annotator="ann", act="compare").json()["task"]
    assert (task["list"], [reply["cut"] for reply in task["replies"]]) == ("regenerated", [True, True])
    assert client.get("/api/rate").json()["queue"] == [
        {"origin": "regenerated", "kind": "pair", "items": 1, "finished": 0}
    ]


def test_a_key_says_who_rates(replier: Replier, store: Store) -> None:
    """Whatever name the body has; only an admin sets up; a rater takes nobody else's item."""
    listed(store)
    (_, ann), (_, root) = Keys(store).add("ann", "rater"), Keys(store).add("root", "admin")
    app = make_app(replier, store, "tuned")
    with TestClient(app, base_url="http://example.org") as client:
        client.headers["authorization"] = f"Bearer {ann}"
        assert client.get("/api/rate").json()["annotator"] == "ann"
        task = post(client, "rate/take", annotator="bob", act="compare").json()["task"]
        rules = {"text": "Be kind.", "reviews": 1, "reasons": [], "tags": []}
        assert post(client, "admin/rate/guidelines", **rules).status_code == 403
        client.headers["authorization"] = f"Bearer {root}"
        for path, body in (("skip", {}), ("compare", {"better": "tie"}), ("write", {"text": "x"})):
            stolen = post(client, f"rate/{path}", review=task["review"], **body)
            assert (stolen.status_code, stolen.json()["error"]["code"]) == (404, "not_found")
        assert post(client, "admin/rate/guidelines", **rules).status_code == 204
        client.headers["authorization"] = f"Bearer {ann}"
        assert post(client, "rate/compare", review=task["review"], better="tie").status_code == 200
    assert [one.annotator for one in store.ratings()] == ["ann"]
    assert read_guidelines(store) == Guidelines("Be kind.", 1, (), ())


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("rate/take", {"act": "compare"}, "'annotator' must be the name"),
        ("rate/take", {"act": "compare", "annotator": "  "}, "'annotator' must be the name"),
        ("rate/take", {"act": "win", "annotator": "ann"}, "'act'"),
        ("rate/take", {"act": "compare", "annotator": "x" * 65}, "'annotator'"),
        ("rate/take", {"act": "compare", "annotator": "ann", "models": True}, "'models'"),
        ("rate/compare", {"annotator": "ann", "review": 1, "better": "both"}, "'better'"),
        ("rate/compare", {"annotator": "ann", "review": 0, "better": "tie"}, "'review'"),
        ("rate/compare", {"annotator": "ann", "review": 1, "better": "tie", "reasons": ["x" * 61]}, "'reasons"),
        ("rate/check", {"annotator": "ann", "review": 1, "verdict": "correct"}, "must not be empty"),
        ("rate/write", {"annotator": "ann", "review": 1, "text": ""}, "'text'"),
        ("admin/rate/guidelines", {"text": "x", "reviews": 0, "reasons": [], "tags": []}, "'reviews'"),
        ("admin/rate/guidelines", {"text": "x", "reviews": 1, "reasons": ["a", "a"], "tags": []}, "different reasons"),
        ("admin/rate/prompts", {"name": "shadow", "prompts": ["a"]}, "A list has a name"),
        ("admin/rate/prompts", {"name": "a", "prompts": []}, "'prompts'"),
        ("admin/rate/prompts", {"name": "a", "prompts": [" "]}, "must end with a turn of the user"),
        ("admin/rate/prompts", {"name": "a", "prompts": [[{"role": "assistant", "content": "x"}]]}, "must end with"),
        ("admin/rate/pairs", {"name": "a", "pairs": [{"prompt": "a", "replies": []}]}, "'pairs"),
        ("admin/rate/replies", {"name": "a", "prompt": "a", "models": ["tuned"]}, "'models'"),
        ("admin/rate/replies", {"name": "a", "prompt": "a", "models": ["tuned", "none"]}, "There is no model 'none'"),
    ],
)
def test_what_makes_no_sense_is_refused(client: TestClient, path: str, body: dict[str, Any], reason: str) -> None:
    """With one sentence that names it."""
    refused = post(client, path, **body)
    assert refused.status_code in (400, 404, 422)
    assert reason in refused.json()["error"]["message"]


def test_what_no_database_can_store_is_replaced(client: TestClient, store: Store) -> None:
    """In the name, the list, reasons, tags and notes."""
    listed(store)
    odd = "a\0b"
    assert post(client, "rate/take", annotator=odd, act="compare", origin=odd).json() == {"task": None}
    task = post(client, "rate/take", annotator=odd, act="compare").json()["task"]
    said = {"review": task["review"], "better": "left", "reasons": [odd], "left_tags": [odd], "comment": odd}
    assert post(client, "rate/compare", annotator=odd, **said).status_code == 200
    choice, tag = store.ratings()
    assert {choice.annotator, choice.text, choice.comment, tag.text} == {"a\ufffdb"}
    rules = {"text": odd, "reviews": 1, "reasons": [odd], "tags": [odd]}
    assert post(client, "admin/rate/guidelines", **rules).status_code == 204
    assert read_guidelines(store) == Guidelines("a\ufffdb", 1, ("a\ufffdb",), ("a\ufffdb",))


def test_two_served_models_reply_to_a_prompt(client: TestClient, store: Store) -> None:
    """As they would in a chat, with their settings and seeds in the store; equal replies are no pair."""
    body = {"name": "asked", "prompt": "hello the cat", "models": ["tuned", "tuned"], "max_tokens": 5}
    assert post(client, "admin/rate/replies", **body, temperature=0).json() == {"added": 0}
    assert post(client, "admin/rate/replies", **body, temperature=1.5).json() == {"added": 1}
    task = post(client, "rate/take", annotator="ann", act="compare").json()["task"]
    post(client, "rate/compare", annotator="ann", review=task["review"], better="right")
    [choice] = store.ratings()
    sampling = choice.snapshot["sampling"]
    assert (sampling["temperature"], sampling["max_tokens"]) == (1.5, 5)
    assert choice.snapshot["rejected"]["sampling"]["seed"] != sampling["seed"]
    assert choice.snapshot["fingerprint"] == "0123456789ab"


def test_the_export_has_a_line_per_review(client: TestClient, store: Store) -> None:
    """Of comparisons and of written replies."""
    listed(store, 2)
    add_prompts(store, "lore", [[{"role": "user", "content": "Why?"}]])
    for better in ("left", "tie"):
        task = post(client, "rate/take", annotator="ann", act="compare").json()["task"]
        post(client, "rate/compare", annotator="ann", review=task["review"], better=better, comment="a\u2028b")
    task = post(client, "rate/take", annotator="ann", act="write").json()["task"]
    assert post(client, "rate/write", annotator="ann", review=task["review"], text="So.").status_code == 204
    check = post(client, "rate/take", annotator="bob", act="check").json()["task"]
    assert check["text"] == "So."
    corrected = {"verdict": "correct", "text": "Because.", "comment": "no"}
    assert post(client, "rate/check", annotator="bob", review=check["review"], **corrected).status_code == 204
    told = client.get("/api/rate/results")
    assert told.headers["content-disposition"] == 'attachment; filename="reviews.jsonl"'
    rows = [json.loads(line) for line in told.text.rstrip("\n").split("\n")]
    assert [(row["kind"], row["verdict"]) for row in rows] == [
        ("comparison", "better"), ("comparison", "tie"), ("instruction", "corrected"),
    ]  # fmt: skip
    assert rows[2]["reply"] == "Because."
    summary = client.get("/api/rate/summary").json()
    assert summary["agreement"]["mean"] is None
    assert [row["annotator"] for row in summary["people"]] == ["ann", "bob"]
