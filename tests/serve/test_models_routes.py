"""The routes of the screen Models: models, scores, aliases, the gate, and the roll-back of an alias."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from sayso.base.life import Life
from sayso.feedback.aliases import Aliases
from sayso.feedback.keys import Keys
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.run.serve import acts_of
from sayso.serve.app import make_app

HERE = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server read its keys before every request."""
    monkeypatch.setattr("sayso.serve.keyring.FRESH", 0.0)


@pytest.fixture
def living(replier: Replier, store: Store, trained_life: Life) -> Iterator[TestClient]:
    """A client of a server with the life of a trained model."""
    app = make_app(replier, store, "base", life=trained_life, acts=acts_of(trained_life, None))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def test_models_and_their_card(living: TestClient) -> None:
    found = living.get("/api/models").json()
    [base] = found["models"]
    assert (base["name"], base["stage"]) == ("base", "base")
    assert found["checkpoints"][0]["run"] == "pretrain-base"
    assert found["scores"] == {"models": [], "measures": []}
    one = living.get("/api/models/base").json()
    assert one["model"] == base
    assert "<h1>base</h1>" in one["card_html"]
    assert "pipeline_tag" not in one["card_html"]
    assert one["checkpoints"] == found["checkpoints"]
    for name in ("none", "..", "..%2fruns", "base%2f..", "a%00b"):
        assert living.get(f"/api/models/{name}").status_code == 404


def test_a_card_cannot_hurt_who_reads_it(living: TestClient, trained_life: Life) -> None:
    """Whatever is in the README of an imported model."""
    card = trained_life.model("base") / "README.md"
    before = card.read_text()
    front, hostile = "---\nx: y\n---\n# hello\n", "<script>alert(1)</script><img src=x onerror=alert(1)>"
    card.write_text(f"{front}{hostile}[a](javascript:alert(1))")
    html = living.get("/api/models/base").json()["card_html"]
    card.write_text(before)
    assert "<h1>hello</h1>" in html
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_a_roll_back_needs_a_reason_and_an_admin(living: TestClient, store: Store) -> None:
    """It is in the history with its reason, whatever that is; a mistake is one sentence."""
    aliases = Aliases(store)
    first = aliases.assign("stable", "one", "1" * 64, after=None)
    path = "/api/admin/aliases/stable/rollback"
    refused = living.post(path, json={"reason": "worse"})
    assert (refused.status_code, "nothing to roll back to" in refused.text) == (400, True)
    aliases.assign("stable", "two", "2" * 64, after=first, evidence={"verdict": "passed", "findings": []})
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 2001}, {"reason": "x", "to": "one"}):
        assert living.post(path, json=body).status_code == 400
    text = "<b>worse</b>\u0000 than 'before'; DROP TABLE aliases"
    made = living.post(path, json={"reason": text})
    assert (made.status_code, made.json()["model"], made.json()["kind"]) == (201, "one", "rolled back")
    history = living.get("/api/models").json()["aliases"]
    assert [one["model"] for one in history] == ["one", "two", "one"]
    assert history[-1]["reason"].startswith("<b>worse</b>")
    assert living.post("/api/admin/aliases/none/rollback", json={"reason": "x"}).status_code == 400
    Keys(store).add("adam", "admin")
    _, rater = Keys(store).add("rita", "rater")
    answer = living.post(path, json={"reason": "x"}, headers={"authorization": f"Bearer {rater}"})
    assert answer.status_code == 403


def test_a_server_without_a_life_says_so(client: TestClient) -> None:
    for path in ("/api/models", "/api/models/base"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_life")


def test_a_damaged_record_of_scores_hides_nothing_else(replier: Replier, store: Store, tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    folder = life.run("evaluate-base")
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text("{")
    app = make_app(replier, store, "base", life=life, acts=acts_of(life, None))
    with TestClient(app, base_url=HERE) as client:
        found = client.get("/api/models").json()
    assert "scores.json" in found["problem"]
    assert found["models"] == []
