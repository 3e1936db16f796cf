"""`sayso.load` and `sayso.Model`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import sayso
from sayso.api.model import Model
from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.sample.dry import breaker_ids
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import save_model

TEXT = "the cat sat on the mat and the dog ran to the cat. " * 20
CHAT = [
    {"role": "user", "content": "the cat"},
    {"role": "assistant", "content": "sat"},
    {"role": "user", "content": "on"},
]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a life whose model `base` has random weights."""
    root = tmp_path_factory.mktemp("api") / "life"
    tokenizer: Tokenizer = train_tokenizer("bpe", [TEXT], 300)
    config = ModelConfig(
        tokenizer.vocab_size, layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=48, context=64
    )
    module = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    save_model(module, tokenizer, Life(root).model("base"), {"stage": "base", "data": [], "seed": 0})
    return root


@pytest.fixture(scope="module")
def model(life: Path) -> Model:
    """Return its model, opened by the default name, for which the latest stage is used."""
    return sayso.load("aligned", life=life)


def test_logits_equal_those_of_transformers(model: Model) -> None:
    """Row 0 predicts the first token of the text."""
    theirs = AutoModelForCausalLM.from_pretrained(model.path)
    ids = model.ids("the cat sat")
    assert ids[0] == model.tokenizer.specials["<|bos|>"]
    assert model.tokenizer.decode(ids[1:].tolist()) == "the cat sat"
    with torch.no_grad():
        expected = theirs(ids[None]).logits[0]
    torch.testing.assert_close(model.logits("the cat sat"), expected, rtol=1e-4, atol=1e-4)


def test_logprobs_and_bits_per_byte_agree(model: Model) -> None:
    """Summed log-probabilities are the text's bits."""
    text = "the dog ran"
    nats = -model.logprobs(text).double().sum().item()
    assert len(model.logprobs(text)) == len(model.tokenizer.encode(text))
    assert model.bits_per_byte(text).mean == pytest.approx(nats / torch.tensor(2.0).log().item() / len(text), rel=1e-5)


def test_a_seed_determines_the_text_streamed_or_not(model: Model) -> None:
    """`stream` yields the pieces of `generate` for a raw prompt, and those of `chat` for messages."""
    whole = model.generate("the cat", max_tokens=12, seed=3)
    stream = model.stream("the cat", max_tokens=12, seed=3)
    assert "".join(stream) == whole
    assert stream.reply().text == whole
    assert model.generate("the cat", max_tokens=12, seed=4) != whole
    assert "".join(model.stream(CHAT, max_tokens=12, seed=3)) == model.chat(CHAT, max_tokens=12, seed=3)
    system = model.chat("on", system="the dog", max_tokens=12, seed=3)
    assert system == model.chat(
        [{"role": "system", "content": "the dog"}, {"role": "user", "content": "on"}], max_tokens=12, seed=3
    )
    assert system == "".join(model.stream("on", system="the dog", max_tokens=12, seed=3))


def test_stop_may_be_one_string(model: Model) -> None:
    """A string, a list and a tuple have the same effect."""
    whole = model.generate("the cat", max_tokens=12, seed=3)
    stop = whole[5]
    cut = whole[: whole.index(stop)]
    assert [model.generate("the cat", max_tokens=12, seed=3, stop=given) for given in (stop, [stop], (stop,))] == [
        cut
    ] * 3


def test_dry_has_the_same_breakers_as_on_the_command_line(model: Model) -> None:
    """Unless they are given."""
    asked = {"max_tokens": 30, "temperature": 0, "dry_multiplier": 50.0, "dry_allowed_length": 1}
    breakers = breaker_ids(model.tokenizer)
    texts = [model.generate("the cat", **asked, dry_breakers=some) for some in ((), breakers, [10**6])]
    assert texts[0] == texts[1] != texts[2]


def test_embeddings_do_not_depend_on_the_batch(model: Model) -> None:
    """Vectors have length 1, and a text has the same vector alone and in a batch with longer ones."""
    texts = ["the cat", "the dog ran to the mat and sat", "a"]
    vectors = model.embed(texts)
    assert vectors.shape == (3, 32)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    for text, vector in zip(texts, vectors, strict=True):
        torch.testing.assert_close(model.embed(text), vector, rtol=1e-4, atol=1e-5)
    assert model.embed([]).shape == (0, 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.chat("x", temprature=1), "Did you mean 'temperature'"),
        (lambda model: model.generate("x", top_p=2), "top_p must be above 0"),
        (lambda model: model.logits("the cat " * 80), "at most 63 tokens"),
        (lambda model: model.bits_per_byte(""), "at least one character"),
        (lambda model: sayso.load("basee", life=model.path.parent.parent), "Did you mean 'base'"),
        (lambda model: sayso.load("no/such/model/here", life=model.path.parent.parent), "does not exist"),
    ],
)
def test_mistakes_are_user_errors(model: Model, call, message: str) -> None:
    """The error states the rule."""
    with pytest.raises(sayso.UserError, match=message):
        call(model)


def test_chat_needs_a_chat_template(model: Model, tmp_path: Path) -> None:
    """The error names the method to call instead."""
    for file in model.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config.pop("chat_template")
    config.pop("sayso_kind")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "sayso.json").unlink()
    bare = sayso.load(tmp_path)
    assert bare.generate("the", max_tokens=3, seed=0)
    with pytest.raises(sayso.UserError, match="no chat template"):
        bare.chat("x")


def test_importing_sayso_loads_no_torch() -> None:
    """Every public name exists and is imported on first use."""
    code = "import sayso, sys; assert set(sayso.__all__) <= set(dir(sayso)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(sayso, name) is not None for name in sayso.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = sayso.lode
