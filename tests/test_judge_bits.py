"""Bits per byte count every id of a document once, for any windows, order and batches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sayso.judge.bits import bits_per_byte, document_bits, text_windows
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train

BOS = 0
SHAPE = ModelConfig(
    vocab_size=300, layers=2, width=16, heads=2, kv_heads=1, head_size=8, mlp_width=32, context=12, tie_embeddings=True
)


@pytest.fixture(scope="module")
def model() -> Transformer:
    """Return a small Transformer with random weights, so that context matters."""
    torch.manual_seed(0)
    network = Transformer(SHAPE).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return network


def alone(model: Transformer, ids: list[int], first: int = 0) -> float:
    """Return the bits of ids[first:] if the model reads <|bos|> and ids in one row."""
    with torch.inference_mode():
        logp = model(torch.tensor([[BOS, *ids]])).log_softmax(-1)[0]
    return -sum(float(logp[i, ids[i]]) for i in range(first, len(ids))) / math.log(2)


def test_batched_documents_have_the_bits_of_documents_alone(model: Transformer) -> None:
    """Padding and sorting change nothing, also for an empty document."""
    documents = [[5, 6, 7], [], [9], list(range(20, 32)), [8] * 11]
    bits = document_bits(model, documents, BOS)
    assert bits.tolist() == pytest.approx([alone(model, ids) for ids in documents], rel=1e-5)


def test_windows_overlap_by_half(model: Transformer) -> None:
    """The second window starts in the middle of the first and counts what the first did not reach."""
    ids = [(7 * i) % 290 + 5 for i in range(17)]
    with torch.inference_mode():
        second = model(torch.tensor([[BOS, *ids][5:17]])).log_softmax(-1)[0]
    tail = -sum(float(second[i - 5, ids[i]]) for i in range(12, 17)) / math.log(2)
    assert document_bits(model, [ids], BOS)[0] == pytest.approx(alone(model, ids[:12]) + tail, rel=1e-5)


@given(length=st.integers(0, 200), context=st.integers(1, 40))
def test_windows_count_each_id_once_with_context(length: int, context: int) -> None:
    """For any length and context, the counted targets are the document, each with half a context."""
    ids = list(range(1, length + 1))
    counted: list[int] = []
    for window in text_windows(0, ids, BOS, context):
        assert len(window.inputs) == len(window.targets) <= context
        assert list(window.targets[:-1]) == list(window.inputs[1:])
        skipped = len(window.inputs) - window.counted
        assert window.inputs[0] == BOS or skipped >= context - max(1, context // 2)
        counted += window.targets[skipped:]
    assert counted == ids


def test_a_uniform_model_needs_log2_v_bits_per_token(model: Transformer) -> None:
    """With equal logits, bits per byte are tokens per UTF-8 byte times log2 V."""
    tokenizer = train("bpe", ["the cat sat on the mat. the dog ran."] * 4, 270)
    texts = ["the cat ran.", "ein Käfer", "the mat"]
    guesser = Transformer(ModelConfig(tokenizer.vocab_size, 1, 8, 1, 1, 8, 8, context=8))
    torch.nn.init.zeros_(guesser.unembed.weight)
    found = bits_per_byte(guesser, tokenizer, texts)
    tokens = sum(len(tokenizer.encode(text)) for text in texts)
    assert found.n == 3
    assert found.mean == pytest.approx(tokens * math.log2(tokenizer.vocab_size) / (12 + 10 + 7), rel=1e-6)
