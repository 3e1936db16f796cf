"""Surprisal, Markov models, samples and the worth of memory: each equals its definition."""

import itertools
import math
from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.bits import bits_per_byte
from sayso.law.perplexity import bits_by_context, counted_bits, surprisal
from sayso.law.shannon import approximation
from sayso.model import ModelConfig, Transformer
from sayso.run.law_perplexity import Perplexity, drawn, perplexity
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.weights.folder import save_model

TEXT = "the cat sat on the mat and the dog said hello to the cat. " * 12


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train("bpe", [TEXT], 300)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    """A small model with random weights, whose context is shorter than the text."""
    network = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 2, 16, 48, context=32))
    generator = torch.Generator().manual_seed(0)
    network.initialize(generator)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network.eval()


def test_counting_more_predicts_better() -> None:
    """Uniform has exactly 8 bits; what was counted has fewer, longer n-grams fewer still."""
    found = counted_bits(TEXT, TEXT[:200])
    assert found["uniform"] == 8
    order = ["uniform", "unigram", "bigram", "trigram", "Kneser-Ney 5-gram"]
    assert list(found) == order
    assert sorted(found.values(), reverse=True) == list(found.values())
    assert found["Kneser-Ney 5-gram"] < 1


def test_a_unigram_has_the_entropy_of_the_bytes() -> None:
    """On the example itself, up to what is left to bytes that do not occur."""
    counts = [TEXT.count(letter) / len(TEXT) for letter in {*TEXT}]
    entropy = -sum(share * math.log2(share) for share in counts)
    assert counted_bits(TEXT, TEXT)["unigram"] == pytest.approx(entropy, rel=0.05)


def test_text_without_bytes_is_refused() -> None:
    with pytest.raises(UserError, match="The text is empty"):
        counted_bits(TEXT, "")
    with pytest.raises(UserError, match="at least 5 bytes, the longest n-gram; got 4"):
        counted_bits("abcd", "a")


def test_surprisal_is_that_of_each_token(model: Transformer, tokenizer: Tokenizer) -> None:
    """Token by token where the text fits the context; its sum is that of the evaluation where it does not."""
    short = "the cat sat on"
    found = surprisal(model, tokenizer, short)
    ids = torch.tensor([[tokenizer.specials["<|bos|>"], *found.ids]])
    logprobs = model(ids)[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    assert found.bits == pytest.approx((-logprobs / math.log(2)).tolist(), rel=1e-4)
    assert "".join(found.texts) == short
    assert found.perplexity == pytest.approx(math.exp(-logprobs.mean().item()), rel=1e-4)
    whole = surprisal(model, tokenizer, TEXT)
    assert len(whole.bits) == len(tokenizer.encode(TEXT))
    assert whole.bits_per_byte == pytest.approx(bits_per_byte(model, tokenizer, [TEXT]).mean, rel=1e-6)
    assert (whole.bits > 0).all()
    with pytest.raises(UserError, match="The text is empty"):
        surprisal(model, tokenizer, "")


def test_memory_is_what_is_seen(model: Transformer, tokenizer: Tokenizer) -> None:
    """The same tokens, each from exactly so many before it; up to the context, or less."""
    ids = tokenizer.encode(TEXT)
    found = bits_by_context(model, tokenizer, TEXT, targets=10_000)
    assert list(found) == [1, 2, 4, 8, 16, 32]
    for length in (1, 4, 32):
        expected = []
        for at in range(32, len(ids)):
            row = torch.tensor([ids[at - length : at]])
            expected.append(-model(row)[0, -1].log_softmax(-1)[ids[at]].item() / math.log(2))
        assert found[length] == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert list(bits_by_context(model, tokenizer, TEXT, longest=9)) == [1, 2, 4, 8]
    few = bits_by_context(model, tokenizer, TEXT, targets=3)
    assert few == bits_by_context(model, tokenizer, TEXT, targets=3)
    assert few != bits_by_context(model, tokenizer, TEXT, targets=3, seed=1)
    with pytest.raises(UserError, match="at least 3 tokens; got"):
        bits_by_context(model, tokenizer, "a")


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_an_approximation_has_only_what_the_text_has(order: int) -> None:
    """Nearly all its n-grams are the text's; a longer one would not be."""
    made = approximation(TEXT, order, length=300, seed=3)
    assert len(made) == 300
    grams = {TEXT[at : at + order] for at in range(len(TEXT))}
    inside = [made[at : at + order] in grams for at in range(len(made) - order + 1)]
    assert sum(inside) / len(inside) > 0.97
    assert made == approximation(TEXT, order, length=300, seed=3)
    assert made != approximation(TEXT, order, length=300, seed=4)


def test_order_zero_draws_all_letters_alike() -> None:
    made = approximation("aaaaaaab", 0, length=4000)
    assert {*made} == {"a", "b"}
    assert made.count("b") == pytest.approx(2000, abs=200)
    assert approximation("aaaaaaab" * 40, 1, length=4000).count("b") == pytest.approx(500, abs=120)


def test_words_follow_words() -> None:
    made = approximation(TEXT, 2, "words", 120).split()
    assert len(made) == 20
    pairs = {*zip(TEXT.split(), TEXT.split()[1:], strict=False)}
    assert sum(pair in pairs for pair in itertools.pairwise(made)) >= 17
    with pytest.raises(UserError, match="order 3 needs more than 3 words; got 2"):
        approximation("two words", 3, "words")


def test_the_command_compares_shows_and_draws(
    model: Transformer, tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path / "life")
    save_model(model, tokenizer, life.model("base"), {"stage": "base", "name": "base"})
    text, out = tmp_path / "text.txt", tmp_path / "bits.svg"
    text.write_text("[/b] [red] " * 30 + TEXT)  # which is no markup
    assert run(["law", "perplexity", str(text), "base", "--out", str(out), "--life", str(life.root)]) == 0
    told = capsys.readouterr().out
    for words in ("uniform", "8.000", "Kneser-Ney 5-gram", "base", "tokens seen", "0 letters", "2 words"):
        assert words in told
    assert out.read_text().startswith("<svg")
    assert "What memory is worth" in out.read_text()
    assert "What memory" not in drawn({"uniform": 8.0}, {})


def test_models_of_one_name_are_told_apart(
    model: Transformer, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their paths; a model that is given twice is measured once, and none takes the place of a counted one."""
    monkeypatch.chdir(tmp_path)
    life, other, taken = Life(Path("life")), Path("other/base"), Path("uniform")
    torch.manual_seed(0)
    untrained = Transformer(model.config).eval()
    for folder, made in ((life.model("base"), model), (other, untrained), (taken, untrained)):
        save_model(made, tokenizer, folder, {"stage": "base", "name": "base"})
    Path("text.txt").write_text(TEXT)
    names = ("base", str(other), "life/models/base", str(taken))
    found = perplexity(Perplexity(Path("text.txt"), names, targets=4, life=life.root))
    paths = [str(folder.resolve()) for folder in (life.model("base"), other, taken)]
    assert list(found.surprisals) == list(found.by_context) == paths
    assert found.bits_per_byte["uniform"] == 8
    assert found.bits_per_byte[paths[0]] != found.bits_per_byte[paths[1]]
    Path("linked").symlink_to(other)
    found = perplexity(Perplexity(Path("text.txt"), ("linked", str(other), "life/models/base"), targets=4))
    assert list(found.surprisals) == ["linked", "base"], "the name that was given, once"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"\xff\xfe\x00a", "is not text in UTF-8 (byte 0)"),
        (b"abc", "at least 5"),
    ],
)
def test_files_that_are_no_text_are_said(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_bytes(content)
    assert run(["law", "perplexity", "text.txt"]) == 2
    assert says in capsys.readouterr().err
    assert run(["law", "perplexity", "none.txt"]) == 2
    assert "There is no file 'none.txt'" in capsys.readouterr().err
