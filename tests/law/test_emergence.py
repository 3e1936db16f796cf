"""Smooth and all-or-nothing scores equal what a hand counts, and what greedy decoding writes."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sayso.base.errors import UserError
from sayso.law.emergence import Scores, in_a_row, independent, score
from sayso.model import ModelConfig, Transformer
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.token.train import train

TEXTS = ["the cat sat on the mat. " * 3, "the dog ran to the log and sat on it. ", "a"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train("bpe", TEXTS * 3, 290)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    shape = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 48, context=8)
    made = Transformer(shape).initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():  # untrained heads are zero
        made.unembed.weight.normal_(generator=torch.Generator().manual_seed(1))
    return made


def test_runs_of_right_tokens_are_counted_by_hand() -> None:
    """The pairs of 1101110 are 11, 10, 01, 11, 11 and 10: three of six are right."""
    row = np.array([1, 1, 0, 1, 1, 1, 0], bool)
    assert in_a_row([row], 1) == pytest.approx(5 / 7)
    assert in_a_row([row], 2) == pytest.approx(3 / 6)
    assert in_a_row([row], 3) == pytest.approx(1 / 5)
    assert in_a_row([row], 4) == 0
    both = [row, np.array([1, 1], bool), np.array([1], bool)]
    assert in_a_row(both, 2) == pytest.approx(4 / 7), "runs never cross from one row into the next"
    assert math.isnan(in_a_row([row], 8))
    with pytest.raises(UserError, match="got 0"):
        in_a_row([row], 0)


def test_a_smooth_rise_looks_sudden_when_all_must_be_right() -> None:
    """0.5 to 0.9 is 1.8 times as good per token, and 110 times for eight in a row."""
    assert independent(0.5, 8) == pytest.approx(1 / 256)
    assert independent(0.9, 8) / independent(0.5, 8) == pytest.approx(110.2, abs=0.1)


def test_independent_tokens_are_right_in_a_row_as_often_as_expected() -> None:
    right = np.random.default_rng(0).random(50_000) < 0.8
    for length in (2, 4, 8):
        assert in_a_row([right], length) == pytest.approx(independent(0.8, length), rel=0.05)


@torch.no_grad()
def test_scores_equal_those_of_each_token_alone(model: Transformer, tokenizer: Tokenizer) -> None:
    """In windows of the context, one after the other, each document from its beginning, the last one up to its end."""
    found = score(model, tokenizer, TEXTS, (1, 2))
    total, hits, pairs, count = 0.0, [], [], 0
    for ids in tokenizer.encode_batch(TEXTS):
        sequence = [tokenizer.specials[BOS], *ids]
        for start in range(0, len(ids), 8):
            end = min(start + 8, len(ids))
            logits = model(torch.tensor([sequence[max(0, end - 8) : end]]))[0, start - end :]
            targets = torch.tensor(ids[start:end])
            total += float(F.cross_entropy(logits, targets, reduction="sum"))
            right = (logits.argmax(-1) == targets).tolist()
            hits += right
            pairs += [a and b for a, b in pairwise(right)]
            count += end - start
    assert found.tokens == count
    assert found.nats.mean == pytest.approx(total / count, rel=1e-5)
    assert found.probability == pytest.approx(math.exp(-total / count), rel=1e-5)
    assert found.in_a_row == {1: pytest.approx(np.mean(hits)), 2: pytest.approx(np.mean(pairs))}


def test_right_tokens_in_a_row_are_what_greedy_decoding_writes(model: Transformer, tokenizer: Tokenizer) -> None:
    """A text that the model wrote itself is right throughout."""
    bos = tokenizer.specials[BOS]
    (sample,) = generate(model, [[bos]], Sampling(max_tokens=7, temperature=0), frozenset())

    class Fixed:
        specials = tokenizer.specials

        def encode_batch(self, _: list[str]) -> list[list[int]]:
            return [sample.ids]

    assert score(model, Fixed(), ["it"], (1, 4)).in_a_row == {1: 1.0, 4: 1.0}


def test_scores_survive_a_file(model: Transformer, tokenizer: Tokenizer) -> None:
    """Those of texts too short for a length too."""
    found = score(model, tokenizer, ["a"], (1, 8))
    again = Scores.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False)))
    assert again.nats.mean == found.nats.mean
    assert again.in_a_row[1] == found.in_a_row[1]
    assert math.isnan(again.in_a_row[8])
    with pytest.raises(UserError, match="no tokens"):
        score(model, tokenizer, [""])
