"""Loss on any text: strided windows equal a computation token by token, and buckets of context add up to the whole."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sayso.base.files import read_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.bits import bits_per_byte, document_bits
from sayso.judge.statistics.estimate import ratio
from sayso.judge.text_loss import TextLoss, text_loss
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.weights.folder import save_model

TEXTS = ["The cat sat on the mat. " * 4, "ein Käfer", "x", "the dog ran and ran, and the cat ran too. " * 3]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train("bpe", ["the cat sat on the mat. the dog ran."] * 4, 270)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    made = Transformer(ModelConfig(tokenizer.vocab_size, 2, 16, 2, 1, 8, 32, context=16)).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return made


def one_by_one(model: Transformer, sequence: list[int], window: int, stride: int) -> list[tuple[int, float]]:
    """Return (tokens before it in its window, nats) of each token after the first, each by a pass of its own.

    Token i is read by the first window that reaches it; windows end after `window`, `window + stride`, ... inputs, and
    the last one at the end of the document.
    """
    found = []
    for i in range(1, len(sequence)):
        end = window + max(0, -(-(i - window) // stride)) * stride
        start = max(0, min(end, len(sequence) - 1) - window)
        with torch.inference_mode():
            logp = model(torch.tensor([sequence[start:i]])).log_softmax(-1)[0, -1]
        found.append((i - start, -float(logp[sequence[i]])))
    return found


@pytest.mark.parametrize(("window", "stride"), [(16, 16), (16, 8), (16, 5), (16, 1), (7, 3), (1, 1), (2, 2)])
def test_strided_windows_equal_a_pass_for_each_token(
    window: int, stride: int, model: Transformer, tokenizer: Tokenizer
) -> None:
    found = text_loss(model, tokenizer, TEXTS, window, stride)
    bos = tokenizer.specials["<|bos|>"]
    pairs = [one_by_one(model, [bos, *tokenizer.encode(text)], window, stride) for text in TEXTS]
    assert found.nats.sum(1) == pytest.approx([sum(nats for _, nats in own) for own in pairs], rel=1e-5)
    assert found.tokens.sum(1).tolist() == [len(own) for own in pairs]
    for bucket in found.buckets():
        inside = [nats for own in pairs for seen, nats in own if bucket.least <= seen <= bucket.most]
        assert bucket.tokens == len(inside)
        assert bucket.nats.mean == pytest.approx(sum(inside) / len(inside), rel=1e-5)
    assert sum(bucket.tokens for bucket in found.buckets()) == sum(map(len, pairs))


def test_the_default_stride_is_the_one_of_the_life_s_evaluation(model: Transformer, tokenizer: Tokenizer) -> None:
    """Half a window; and a document that fits is read whole, whatever the stride."""
    found = text_loss(model, tokenizer, TEXTS)
    ids = tokenizer.encode_batch(TEXTS)
    bits = document_bits(model, ids, tokenizer.specials["<|bos|>"])
    assert found.nats.sum(1) / math.log(2) == pytest.approx(bits)
    expected = bits_per_byte(model, tokenizer, TEXTS)
    assert found.bits_per_byte.as_dict() == pytest.approx(expected.as_dict())
    short = TEXTS[1:3]
    assert np.array_equal(text_loss(model, tokenizer, short, 16, 16).nats, text_loss(model, tokenizer, short).nats)


def test_intervals_are_by_document_and_bytes_those_of_utf_8() -> None:
    """Perplexity is exp of nats a token, with its ends; a bucket counts only the documents that reach it."""
    loss = TextLoss(
        np.array([[2.0, 6.0], [1.0, 0.0], [3.0, 9.0]]),
        np.array([[1.0, 2.0], [1.0, 0.0], [1.0, 2.0]]),
        np.array([4.0, 1.0, 5.0]),
        3,
    )
    assert loss.bits_per_byte == ratio([8 / math.log(2), 1 / math.log(2), 12 / math.log(2)], [4, 1, 5])
    expected = ratio([8, 1, 12], [3, 1, 3])
    assert loss.perplexity.mean == pytest.approx(math.exp(3))
    assert loss.perplexity.low == pytest.approx(math.exp(expected.low))
    assert loss.perplexity.se == pytest.approx(math.exp(3) * expected.se)
    first, second = loss.buckets()
    assert (first.least, first.most, first.tokens, first.documents) == (1, 1, 3, 3)
    assert (second.least, second.most, second.tokens, second.documents) == (2, 3, 4, 2)
    assert second.nats == ratio([6, 9], [2, 2])


def test_more_context_lowers_the_loss_of_a_text_that_repeats_itself(tokenizer: Tokenizer) -> None:
    """A model that copies: after one period, each token is certain; the buckets show it."""
    nats = np.array([[3.0] * 4 + [0.0] * 12])
    loss = TextLoss(nats, np.ones((1, 16)), np.array([16.0]), 65535)
    assert [bucket.nats.mean for bucket in loss.buckets()][:5] == [3.0, 3.0, 3.0, 3.0, 0.0]


@pytest.fixture
def life(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> Life:
    found = Life(tmp_path / "life")
    save_model(model, tokenizer, found.model("base"), {"stage": "base"})
    (tmp_path / "one.txt").write_text(TEXTS[0] + "Käfer")
    write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS])
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "nothing.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("Käfer".encode("latin-1"))
    return found


def test_texts_are_measured_by_source(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Transformer, tokenizer: Tokenizer
) -> None:
    """Each source has its own figures, and all together have theirs."""
    names = [str(tmp_path / "one.txt"), str(tmp_path / "rows.jsonl")]
    assert run(["evaluate", "base", "--life", str(life.root), "--text", *names, "--stride", "4"]) == 0
    told = capsys.readouterr().out
    found = read_json(life.run("evaluate-base") / "text" / "loss.json")
    assert (found["window"], found["stride"]) == (16, 4)
    assert [*found["sources"]] == names
    one, rows = found["sources"].values()
    assert one["bytes"] == len((TEXTS[0] + "Käfer").encode())
    assert one["bits_per_byte"]["low"] is None
    assert rows["documents"] == 4
    expected = text_loss(model, tokenizer, TEXTS, 16, 4)
    assert rows["bits_per_byte"]["mean"] == pytest.approx(expected.bits_per_byte.mean, rel=1e-6)
    assert found["all"]["tokens"] == one["tokens"] + rows["tokens"]
    assert found["all"]["bits_per_byte"]["low"] > 0
    assert f"{found['all']['perplexity']['mean']:.3f}" in told
    assert "A single document has no interval" in told
    spans = [(row["least"], row["most"]) for row in found["all"]["by_context"]]
    assert spans == [(1, 1), (2, 3), (4, 7), (8, 15), (16, 16)]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--text", "one.txt", "--stride", "17"], "--stride must be at most the window, 16 tokens"),
        (["--text", "one.txt", "--window", "8", "--stride", "9"], "--stride must be at most the window, 8 tokens"),
        (["--text", "one.txt", "--window", "32"], "--window must be at most the model's context, 16 tokens; got 32"),
        (["--text", "empty.txt"], "--text must name sources with text; 'empty.txt' has none"),
        (["--text", "nothing.txt"], "the file 'nothing.txt' is empty"),
        (["--text", "latin.txt"], "A text file must be UTF-8; 'latin.txt' is not"),
        (["--text", "absent.txt"], "there is no 'absent.txt'"),
        (["--stride", "4"], "--stride requires --text, such as --text book.txt"),
        (["--text", "one.txt", "--suite", "small"], "--text and --suite are two evaluations"),
        (["--text", "one.txt", "--stride", "0"], "--stride must be at least 1; got 0"),
    ],
)
def test_bad_texts_and_windows_are_refused(
    words: list[str], rule: str, life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """In one sentence, before anything is written."""
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", "base", "--life", str(life.root), *words]) == 2
    assert rule in capsys.readouterr().err
    assert not life.run("evaluate-base").exists()
