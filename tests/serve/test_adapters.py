"""Adapters are models to whoever asks for them."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import openai
import pytest
import torch
from fastapi.testclient import TestClient

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.feedback.store import Store
from sayso.model.adapters import LoRA, adapters, add_lora
from sayso.reply import Replier
from sayso.run.engine import engine_of
from sayso.run.serve import Serve
from sayso.sample.sampling import Sampling
from sayso.serve.app import make_app
from sayso.weights.adapter import adapted_model, save_adapter

HERE = "http://127.0.0.1"
TALK = [{"role": "user", "content": "the cat sat"}]


@pytest.fixture(scope="module")
def folder(replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the model, in PEFT's format."""
    twin, lora = deepcopy(replier.model), LoRA(rank=2, alpha=4.0, targets=("value", "up"))
    generator = torch.Generator().manual_seed(0)
    add_lora(twin, lora, generator)
    with torch.no_grad():
        for layer in adapters(twin).values():
            layer.b.normal_(std=0.3, generator=generator)
    place = tmp_path_factory.mktemp("adapters") / "poet"
    save_adapter(adapters(twin), twin.config, lora, "parent", place)
    return place


@pytest.fixture
def client(replier: Replier, store: Store, folder: Path) -> Iterator[TestClient]:
    options = Serve(adapter=(f"poet={folder}",), rows=4, speculate=2)
    engine = engine_of(options, Life(Path("life")), ("tuned",), replier.model, "cpu")
    with TestClient(make_app(replier, store, "tuned", engine=engine), base_url=HERE) as client:
        yield client


def test_an_adapter_speaks_under_its_name(client: TestClient, replier: Replier, folder: Path) -> None:
    """It is listed with its parent, says what the adapted model says, and leaves the model's own replies alone."""
    official = openai.OpenAI(api_key="none", base_url=f"{HERE}/v1", http_client=client, max_retries=0)
    assert [(one.id, getattr(one, "parent", None)) for one in official.models.list()] == [
        ("tuned", None),
        ("poet", "tuned"),
    ]
    said = {}
    for name in ("tuned", "poet", "tuned"):
        answer = official.chat.completions.create(model=name, messages=TALK, temperature=0, max_tokens=12)
        assert answer.model == name
        assert said.setdefault(name, answer.choices[0].message.content) == answer.choices[0].message.content
    text = official.responses.create(model="poet", input="the cat sat", temperature=0, max_output_tokens=12)
    assert (text.model, text.output_text) == ("poet", said["poet"])
    poet = Replier(adapted_model(replier.model, folder), replier.tokenizer)
    assert said["poet"] == poet.replies([TALK], Sampling(temperature=0, max_tokens=12))[0].text
    assert said["poet"] != said["tuned"]


def test_what_an_adapter_cannot_do_is_told(client: TestClient) -> None:
    """An unknown name offers the nearest; vectors are the model's own."""
    wrong = client.post("/v1/chat/completions", json={"model": "poets", "messages": TALK})
    assert wrong.status_code == 404
    assert wrong.json()["error"]["message"].endswith("this server has 'tuned' or 'poet'. Did you mean 'poet'?")
    vector = client.post("/v1/embeddings", json={"model": "poet", "input": "cat"})
    assert (vector.status_code, vector.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("given", ["poet", "=x", "tuned=x", "poet="])
def test_an_adapter_without_a_name_of_its_own_is_refused(replier: Replier, given: str) -> None:
    """The error says how it is given."""
    with pytest.raises(UserError, match=f"takes NAME=FOLDER with a unique name; got '{given}'"):
        engine_of(Serve(adapter=(given,)), Life(Path("life")), ("tuned",), replier.model, "cpu")
