"""A complete tiny life in one test: from nothing to a model that learned from a user's feedback on its page."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sayso.base.files import read_json, sha256
from sayso.base.jsonl import read_jsonl
from sayso.base.life import STAGES, Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.weights.folder import load_model

ACTS = {"prepare", "tokenizer", "pretrain", "finetune", "align", "evaluate", "verify"}


def talk(life: Life, better: str) -> str:
    """Chat with the life's aligned model on its page, and submit a better reply; return its reply."""
    store = Store(life.store)
    app = make_app(Replier(*load_model(life.model("aligned"))), store, "aligned")
    with TestClient(app, base_url="http://127.0.0.1") as page:
        conversation = page.post("/api/conversations").json()["id"]
        said = page.post("/api/messages", json={"conversation_id": conversation, "content": "Hello!"}).json()
        turn: dict[str, Any] | None = None
        while turn is None:  # a model this young may end its turn before the first word
            answer = page.post("/api/replies", json={"message_id": said["id"], "max_tokens": 12}).text
            turn = json.loads(answer.strip().splitlines()[-1].removeprefix("data: "))["turn"]
        edit = {"kind": "edit", "message_id": turn["id"], "text": better}
        assert page.post("/api/ratings", json=edit).status_code == 201
    store.close()
    return str(turn["content"])


def test_a_whole_life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every act runs as a command, and is in the report; a correction on the page changes the next aligned model."""
    life, where = Life(tmp_path / "life"), ["--life", str(tmp_path / "life")]
    assert run(["demo", "--tiny", "--no-serve", "--seed", "3", *where]) == 0

    report = read_json(life.report_json)
    assert report["resume"]["identical"] is True
    assert set(report["acts"]) >= ACTS
    judged = [event for event in read_log(life.run("pretrain-base") / "run.jsonl") if event["event"] == "val"]
    assert judged
    assert all(isinstance(event["sample"], str) and event["val_bpb"] > 0 for event in judged)
    assert all(0 < event[score] <= 1 for event in judged for score in ("induction", "previous_token"))
    assert report["pretrain"]["val_bpb"]["smallworld"] < report["baselines"]["uniform"]["smallworld"]
    assert set(report["baselines"]) == {"uniform", "unigram", "kn5", "xz"}
    assert 0 <= report["align"]["smallworld_accuracy"] <= 1
    assert report["lineage"]
    assert "<svg" in life.report.read_text()
    weights = {stage: sha256(life.model(stage) / "model.safetensors") for stage in STAGES}
    assert len(set(weights.values())) == len(STAGES)
    assert {read_json(life.model(stage) / "sayso.json")["seed"] for stage in STAGES} == {3}
    asked = {read_json(life.run(f"evaluate-{stage}") / "scores.json")["key"]["asked"]["seed"] for stage in STAGES}
    assert asked == {0}, "lives of all seeds are asked the same questions"

    capsys.readouterr()
    options = ["--depth", "2", "--steps", "6", "--rows", "4", "--first-window", "4", "--conversations", "0.4"]
    assert run(["pretrain", *options, "--seed", "3", *where]) == 0
    assert "already" in capsys.readouterr().out, "what is finished is left alone"

    better = "Hello! How are you today?"
    reply = talk(life, better)
    assert run(["gather", *where]) == 0
    assert [row["chosen"] for row in read_jsonl(life.data("feedback") / "pairs.jsonl")] == [better]
    assert run(["align", "--tasks", "4", "--replies", "2", "--rows", "4", *where]) == 0
    pairs = list(read_jsonl(life.run("align-aligned") / "pairs.jsonl"))
    assert {(pair["chosen"], pair["rejected"]) for pair in pairs if pair["source"] == "feedback"} == {(better, reply)}
    assert sha256(life.model("aligned") / "model.safetensors") != weights["aligned"]
    assert any(mark.startswith("feedback") for mark in read_json(life.model("aligned") / "sayso.json")["data"])

    capsys.readouterr()
    assert run(["generate", "Hello!", "--max-tokens", "3", "--seed", "1", *where]) == 0
    assert capsys.readouterr().out.strip()
