"""The route of the x-ray: panels of texts and of stored replies, and what is refused."""

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from sayso.base.life import Life
from sayso.feedback.generations import Generations
from sayso.feedback.store import Generation, Store
from sayso.feedback.traces import Trace
from sayso.model import Transformer
from sayso.model.score import set_score
from sayso.reply import Replier
from sayso.serve import xray_models
from sayso.serve.app import make_app
from sayso.token.train import train
from sayso.weights.folder import save_model
from sayso.weights.lineage import read_lineage
from sayso.xray import training
from sayso.xray import view as view_module
from sayso.xray.view import View

MADE = Generation("tuned", "0123456789ab", {}, "stop", 3, 2, 0.1)


def meta(data: bytes) -> dict[str, Any]:
    """Return the facts of a packed panel."""
    size = int.from_bytes(data[:4], "little")
    found: dict[str, Any] = json.loads(data[4 : 4 + size])["meta"]
    return found


def logits(data: bytes) -> torch.Tensor:
    """Return the array of a packed panel of logits."""
    size = int.from_bytes(data[:4], "little")
    return torch.frombuffer(bytearray(data[4 + size :]), dtype=torch.float32)


def replied(store: Store, prompt: list[int], ids: list[int], made: Generation = MADE) -> int:
    """Leave a reply whose prompt and tokens are known; return its number."""
    trace = Trace(route="page", prompt_ids=prompt, completion_ids=ids, logprobs=[-1.0] * len(ids), first_seconds=0.1)
    said = store.say(store.new_conversation().id, "hello")
    return store.reply(said.id, "the cat", [{"role": "user", "content": "hello"}], made, trace=trace).id


def test_a_text_is_read_after_the_token_that_begins_it(client: TestClient, replier: Replier) -> None:
    answer = client.post("/api/xray", json={"panel": "tokens", "text": "the cat"})
    assert answer.headers["content-type"] == "application/octet-stream"
    ids = replier.text_ids("the cat")
    assert [token for token, _ in meta(answer.content)["tokens"]] == ids
    own = View(replier.model, replier.tokenizer, ids, "tuned").panel("head", layer=0, head=1)
    asked = {"panel": "head", "where": {"layer": 0, "head": 1}, "text": "the cat"}
    assert client.post("/api/xray", json=asked).content == own.packed()


def test_a_reply_is_read_with_its_prompt(client: TestClient, store: Store) -> None:
    number = replied(store, [0, 5, 6], [7, 8])
    found = meta(client.post("/api/xray", json={"panel": "tokens", "message_id": number}).content)
    assert [token for token, _ in found["tokens"]] == [0, 5, 6, 7, 8]
    assert found["prompt"] == 3


def test_a_row_of_ids_is_read_as_it_is(client: TestClient, replier: Replier) -> None:
    found = meta(client.post("/api/xray", json={"panel": "tokens", "ids": [5, 6, 7], "prompt": 2}).content)
    assert [token for token, _ in found["tokens"]] == [5, 6, 7]
    assert found["prompt"] == 2
    assert View(replier.model, replier.tokenizer, [5, 6, 7]).text(6) == found["tokens"][1][1]


def test_another_model_of_the_life_is_opened(replier: Replier, store: Store, tmp_path: Path) -> None:
    """It is not served otherwise; when its weights are replaced, the new ones are read."""
    life = Life(tmp_path / "life")

    def made(seed: int) -> Transformer:
        other = Transformer(replier.model.config).initialize(torch.Generator().manual_seed(seed)).eval()
        save_model(other, replier.tokenizer, life.model("base"), {"stage": "base"})
        return other

    asked = {"panel": "logits", "where": {"position": 1}, "text": "the cat", "model": "base"}
    with TestClient(make_app(replier, store, "tuned", life=life), base_url="http://localhost") as client:
        for seed in (3, 4):
            view = View(made(seed), replier.tokenizer, replier.text_ids("the cat"), "base")
            found, expected = client.post("/api/xray", json=asked).content, view.panel("logits", position=1)
            assert meta(found)["words"].keys() == {*map(str, expected.meta["words"])}
            torch.testing.assert_close(logits(found)[: view.network.config.vocab_size], expected.arrays["logits"])
        assert client.post("/api/xray", json={**asked, "model": "none"}).status_code == 404
        assert client.post("/v1/completions", json={"prompt": "the", "model": "base"}).status_code == 404


def test_weights_kept_in_training_are_shown_and_opened(replier: Replier, store: Store, tmp_path: Path) -> None:
    """Of the served model, if the life has it with the same weights; each of them by its step, as base@4."""
    life, run = Life(tmp_path / "life"), {"run": {"name": "pretrain-base", "plan": "0"}}
    kept = life.run("pretrain-base") / "snapshots" / "step-000004"
    early = Transformer(replier.model.config).initialize(torch.Generator().manual_seed(3)).eval()
    save_model(early, replier.tokenizer, kept, {"stage": "base", **run})
    save_model(replier.model, replier.tokenizer, life.model("base"), {"stage": "base", **run})
    ids, steps = replier.text_ids("the cat"), []
    for fingerprint in (read_lineage(life.model("base"))["weights_sha256"][:12], "0123456789ab"):
        app = make_app(replier, store, "base", fingerprint=fingerprint, life=life)
        with TestClient(app, base_url="http://localhost") as client:
            steps.append(meta(client.post("/api/xray", json={"panel": "training", "text": "the cat"}).content)["steps"])
            asked = {"panel": "logits", "where": {"position": 1}, "ids": ids, "model": "base@4"}
            expected = View(early, replier.tokenizer, ids).panel("logits", position=1).arrays["logits"]
            found = logits(client.post("/api/xray", json=asked).content)
            torch.testing.assert_close(found[: len(expected)], expected)
            for other in ("base@5", "base@", "base@x", "base@04", "other@4", f"base@{'1' * 5000}"):
                assert client.post("/api/xray", json={**asked, "model": other}).status_code == 404
    assert steps == [[4], []]


def test_models_that_cannot_be_shown_beside_say_why(replier: Replier, store: Store, tmp_path: Path) -> None:
    """Those with another tokenizer, and those that predict no token; for the model at hand, served or not."""
    life = Life(tmp_path / "life")
    save_model(replier.model, replier.tokenizer, life.model("base"), {"stage": "base"})
    scores = Transformer(replier.model.config).initialize(torch.Generator().manual_seed(3))
    set_score(scores, torch.zeros(1, scores.config.width), torch.zeros(1))
    save_model(scores.eval(), replier.tokenizer, life.model("reward"), {"stage": "reward"})
    other = train("character", ["xyz"], 300)
    config = dataclasses.replace(replier.model.config, vocab_size=other.vocab_size)
    save_model(Transformer(config).initialize(torch.Generator()).eval(), other, life.model("other"), {"stage": "base"})
    (life.model("broken") / "config.json").parent.mkdir()
    (life.model("broken") / "config.json").write_text("{}")
    with TestClient(make_app(replier, store, "tuned", life=life), base_url="http://localhost") as client:
        found = [client.get("/api/xray/models", params=asked).json()["models"] for asked in ({}, {"model": "other"})]
    first, second = ({one["name"]: one["problem"] for one in models} for models in found)
    different, scoring = "it has another tokenizer", "it scores replies, and predicts no token"
    assert first == {
        "tuned": None, "base": None, "reward": scoring, "other": different, "broken": "its files are damaged",
    }  # fmt: skip
    assert second == {
        "tuned": different, "base": different, "reward": scoring, "other": None, "broken": "its files are damaged",
    }  # fmt: skip


def test_weights_of_training_are_read_once_and_not_in_the_models_thread(
    replier: Replier, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which serves requests meanwhile."""
    life, run, seen = Life(tmp_path / "life"), {"run": {"name": "pretrain-base", "plan": "0"}}, []
    for folder in (life.run("pretrain-base") / "snapshots" / "step-000004", life.model("base")):
        save_model(replier.model, replier.tokenizer, folder, {"stage": "base", **run})

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            seen.append((name, threading.get_ident()))
            return function(*given)

        return called

    monkeypatch.setattr(training, "load_weights", watched("weights", training.load_weights))
    monkeypatch.setattr(view_module, "final_of", watched("final", view_module.final_of))
    mark = read_lineage(life.model("base"))["weights_sha256"][:12]
    with TestClient(
        make_app(replier, store, "base", fingerprint=mark, life=life), base_url="http://localhost"
    ) as client:
        first, second = (client.post("/api/xray", json={"panel": "training", "text": "the cat"}) for _ in range(2))
    assert meta(first.content)["folders"] == ["life/runs/pretrain-base/snapshots/step-000004"]
    assert first.content == second.content
    assert [name for name, _ in seen] == ["final", "weights"]
    assert seen[0][1] != seen[1][1]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"panel": "tokens"}, 400, "either 'text', 'ids' or 'message_id'"),
        ({"panel": "tokens", "text": "a", "message_id": 1}, 400, "either 'text', 'ids' or 'message_id'"),
        ({"panel": "tokns", "text": "a"}, 400, "Did you mean 'tokens'"),
        ({"panel": "head", "text": "a"}, 400, "The panel 'head' needs 'layer'."),
        ({"panel": "map", "text": "a", "where": {"layer": 0}}, 400, "The panel 'map' has no 'layer'; it takes first."),
        ({"panel": "words", "text": "a", "where": {"view": 1}}, 400, "view"),
        ({"panel": "embedding", "text": "a", "where": {"position": 99}}, 400, "A position must be from 0 to"),
        ({"panel": "tokens", "text": "the " * 5000}, 400, "A row must have at most 4,096 ids"),
        ({"panel": "tokens", "text": "a", "model": "none"}, 404, "none"),
        ({"panel": "tokens", "ids": [5, 6, 7], "prompt": 0}, 400, "'prompt' must be from 1 to 3"),
        ({"panel": "tokens", "ids": [5, 6, 7], "prompt": 4}, 400, "got 4"),
        ({"panel": "tokens", "message_id": 10**6}, 404, ""),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, body: dict[str, Any], status: int, says: str) -> None:
    answer = client.post("/api/xray", json=body)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_replies_without_tokens_or_of_other_weights_have_none(client: TestClient, store: Store) -> None:
    said = store.say(store.new_conversation().id, "hello")
    for number in (said.id, replied(store, [0, 5], [])):
        answer = client.post("/api/xray", json={"panel": "tokens", "message_id": number})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    other = replied(store, [0, 5], [7], Generation("older", "ba9876543210", {}, "stop", 2, 1, 0.1))
    answer = client.post("/api/xray", json={"panel": "tokens", "message_id": other})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "other_model")
    assert "'older', with other weights" in answer.json()["error"]["message"]
    assert Generations(store).trace(other) is not None


def test_the_last_views_are_kept(replier: Replier, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    """What a row needs is computed once while panels of few rows are asked for."""
    made: list[list[int]] = []

    class Counted(View):
        def __init__(self, network: Any, tokenizer: Any, ids: Any, *others: Any) -> None:
            made.append(list(ids))
            super().__init__(network, tokenizer, ids, *others)

    monkeypatch.setattr(xray_models, "View", Counted)
    for text in ("a", "b", "a", "b", "c", "b", "a"):
        assert client.post("/api/xray", json={"panel": "tokens", "text": text}).status_code == 200
    assert made == [replier.text_ids(text) for text in "abca"]
    assert xray_models.KEPT == 2
