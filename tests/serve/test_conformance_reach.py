"""Routes beyond generation: scores, adapters of a running server, prompts without a reply, the version."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from sayso import __version__
from sayso.align.scorer import Scorer
from sayso.feedback.store import Store
from sayso.model import Transformer
from sayso.model.adapters import LoRA, adapters, add_lora, chosen_targets, merge
from sayso.model.score import add_score
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.app import make_app
from sayso.weights.adapter import save_adapter

HERE = "http://127.0.0.1"
HELLO = [{"role": "user", "content": "hello"}]
ADMIN = {"authorization": "Bearer boss"}


@pytest.fixture(scope="module")
def judge(replier: Replier) -> Replier:
    """A reward model with the tokenizer of the tests' model."""
    model = Transformer(replier.model.config).initialize(torch.Generator().manual_seed(3))
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(4))
    return Replier(add_score(model, torch.Generator().manual_seed(5)).eval(), replier.tokenizer)


@pytest.fixture
def scoring(judge: Replier, store: Store) -> Iterator[TestClient]:
    with TestClient(make_app(judge, store, "reward"), base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def test_documents_are_ranked_by_their_score(scoring: TestClient, judge: Replier) -> None:
    """Scores are those of the reward model for query and document as a conversation, best first."""
    documents = ["the cat", "the dog sat on the mat", "hello " * 40, "no"]
    own = Scorer([judge.model], judge.tokenizer)([("hello", text, {}) for text in documents])
    assert len(set(own)) == 4
    body: dict[str, Any] = {"query": "hello", "documents": [*documents[:2], {"text": documents[2]}, documents[3]]}
    found = scoring.post("/v1/rerank", json=body).json()
    order = sorted(range(4), key=lambda place: -own[place])
    assert [one["index"] for one in found["results"]] == order
    assert [one["relevance_score"] for one in found["results"]] == pytest.approx([own[place] for place in order])
    assert [one["document"]["text"] for one in found["results"]] == [documents[place] for place in order]
    best = scoring.post("/rerank", json=body | {"top_n": 1, "return_documents": False}).json()["results"]
    assert best == [{key: found["results"][0][key] for key in ("index", "relevance_score")}]
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] > 40


def test_texts_are_scored_in_pairs(scoring: TestClient, judge: Replier) -> None:
    """One text against several, or as many against each other."""
    scorer = Scorer([judge.model], judge.tokenizer)
    one = scoring.post("/v1/score", json={"text_1": "hello", "text_2": ["cat", "dog"]}).json()
    assert [row["score"] for row in one["data"]] == pytest.approx(scorer([("hello", t, {}) for t in ("cat", "dog")]))
    assert [row["index"] for row in one["data"]] == [0, 1]
    pairs = scoring.post("/v1/score", json={"text_1": ["a", "b"], "text_2": ["cat", "dog"]}).json()
    wanted = scorer([("a", "cat", {}), ("b", "dog", {})])
    assert [row["score"] for row in pairs["data"]] == pytest.approx(wanted)


def test_scores_that_cannot_be_are_errors(scoring: TestClient, client: TestClient) -> None:
    """A model without scores, different numbers of texts, a pair beyond the context; a reward model writes nothing."""
    cases = [
        (client, "/v1/rerank", {"query": "a", "documents": ["b"]}, "'tuned' is not a reward model"),
        (client, "/v1/score", {"text_1": "a", "text_2": "b"}, "'tuned' is not a reward model"),
        (scoring, "/v1/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "got 2 and 3"),
        (scoring, "/v1/rerank", {"query": "a", "documents": ["b", "cat " * 9000]}, "pair 1, counted from 0, has"),
        (scoring, "/v1/rerank", {"query": "a", "documents": []}, "documents"),
        (scoring, "/v1/chat/completions", {"messages": HELLO}, "generates no text"),
        (scoring, "/v1/completions", {"prompt": "a"}, "generates no text"),
    ]
    for server, path, body, text in cases:
        answer = server.post(path, json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert text in answer.json()["error"]["message"]


@pytest.fixture
def lora_folder(replier: Replier, tmp_path: Path) -> Path:
    """An adapter that changes what the tests' model writes."""
    model = Transformer(replier.model.config)
    model.load_state_dict(replier.model.state_dict())
    lora = LoRA(2, 8.0, chosen_targets(model, ()))
    add_lora(model, lora, torch.Generator().manual_seed(1))
    for layer in adapters(model).values():
        torch.nn.init.normal_(layer.b, std=0.5, generator=torch.Generator().manual_seed(2))
    save_adapter(merge(model), model.config, lora, "base", tmp_path / "poet")
    return tmp_path / "poet"


@pytest.fixture
def administered(replier: Replier, store: Store) -> Iterator[TestClient]:
    app = make_app(replier, store, "tuned", key="user", admin_key="boss")
    with TestClient(app, base_url=HERE, raise_server_exceptions=False, headers=ADMIN) as client:
        yield client


def test_an_adapter_is_loaded_and_unloaded(administered: TestClient, lora_folder: Path) -> None:
    """It is a model like any other, with replies of its own, until it is unloaded."""
    greedy = {"messages": HELLO, "temperature": 0, "max_tokens": 8}
    base = administered.post("/v1/chat/completions", json=greedy).json()["choices"][0]["message"]["content"]
    body = {"lora_name": "poet", "lora_path": str(lora_folder)}
    assert administered.post("/v1/load_lora_adapter", json=body).text == (
        "Success: LoRA adapter 'poet' added successfully."
    )
    assert [one["id"] for one in administered.get("/v1/models").json()["data"]] == ["tuned", "poet"]
    poet = administered.post("/v1/chat/completions", json=greedy | {"model": "poet"}).json()
    assert poet["choices"][0]["message"]["content"] != base
    again = administered.post("/v1/load_lora_adapter", json=body)
    assert (again.status_code, again.json()["error"]["param"]) == (400, "lora_name")
    assert administered.post("/v1/unload_lora_adapter", json={"lora_name": "poet"}).status_code == 200
    assert administered.post("/v1/unload_lora_adapter", json={"lora_name": "poet"}).status_code == 404
    assert administered.post("/v1/chat/completions", json=greedy | {"model": "poet"}).status_code == 404


def test_only_the_admin_changes_adapters(administered: TestClient, client: TestClient, lora_folder: Path) -> None:
    """The key of all does not suffice, and without an admin key the routes are off."""
    body = {"lora_name": "poet", "lora_path": str(lora_folder)}
    for headers, status in (({"authorization": "Bearer user"}, 403), ({"authorization": "Bearer none"}, 401)):
        assert administered.post("/v1/load_lora_adapter", json=body, headers=headers).status_code == status
    assert administered.get("/v1/models", headers={"authorization": "Bearer user"}).status_code == 200
    refused = client.post("/v1/load_lora_adapter", json={})  # before the body is read
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_admin_key")


def test_a_folder_that_is_no_adapter_is_refused(administered: TestClient, tmp_path: Path) -> None:
    """Missing, empty, or a name that is no name."""
    missing = administered.post("/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": str(tmp_path / "none")})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "lora_path")
    empty = administered.post("/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": str(tmp_path)})
    assert (empty.status_code, empty.json()["error"]["param"]) == (400, "lora_path")
    odd = administered.post("/v1/load_lora_adapter", json={"lora_name": "a b", "lora_path": str(tmp_path)})
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "lora_name")


def test_an_adapter_in_use_stays(replier: Replier) -> None:
    """It is not taken from under a request."""
    from sayso.base.errors import UserError
    from sayso.sample.request import Request
    from sayso.sample.sampling import Sampling

    engine = Engine(replier.model, adapters={"poet": replier.model})
    request = Request([5, 6], Sampling(max_tokens=2), 0, frozenset(), adapter="poet")
    engine.add(request)
    with pytest.raises(UserError, match="used by 1 requests"):
        engine.unload_adapter("poet")
    engine.cancel(request)
    engine.unload_adapter("poet")
    assert list(engine.runners) == [""]


def test_a_prompt_is_shown_and_counted_as_it_is_read(client: TestClient, replier: Replier) -> None:
    """The template with its control tokens, and the number of tokens of a response's prompt."""
    shown = client.post("/apply-template", json={"messages": [{"role": "user", "content": "hé"}]}).json()["prompt"]
    assert "hé" in shown
    assert shown.startswith(next(iter(replier.tokenizer.specials)))
    usage = client.post("/v1/responses", json={"input": "hello", "max_output_tokens": 1}).json()["usage"]
    counted = client.post("/v1/responses/input_tokens", json={"input": "hello"}).json()
    assert counted == {"object": "response.input_tokens", "input_tokens": usage["input_tokens"]}


def test_control_tokens_are_parsed_only_on_request(client: TestClient, replier: Replier) -> None:
    """Their names in a prompt are plain text unless `parse_special` says otherwise."""
    name, token = next(iter(replier.tokenizer.specials.items()))
    body = {"prompt": f"the {name}cat", "max_tokens": 1, "return_token_ids": True}

    def prompt(**more: bool) -> list[int]:
        choice = client.post("/v1/completions", json=body | more).json()["choices"][0]
        return choice["prompt_token_ids"][1:]

    assert token not in prompt()
    encode = replier.tokenizer.encode
    assert prompt(parse_special=True) == [*encode("the "), token, *encode("cat")]
    assert prompt() == prompt(parse_special=False) == encode(f"the {name}cat")
    for special in (True, False):
        counted = client.post("/tokenize", json={"prompt": body["prompt"], "parse_special": special}).json()
        assert counted["tokens"][1:] == prompt(parse_special=special)
    refused = client.post("/tokenize", json={"messages": HELLO, "parse_special": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "parse_special")


def test_the_version_is_told(client: TestClient) -> None:
    """It is the package's."""
    assert client.get("/version").json() == {"version": __version__}
