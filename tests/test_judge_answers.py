"""Exact match and F1 on answers scored by hand, and the loss on held-out replies."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.answers import exact_match, f1, normalized

from sayso.judge.replies import reply_loss, reply_nats
from sayso.model import ModelConfig, Transformer

DATA = os.environ.get("SAYSO_TEST_DATA")


def test_normalization_removes_what_does_not_count() -> None:
    """Case, punctuation, articles and blanks; an article inside a word is kept."""
    assert normalized(" The  Cat's theatre,\n an A. and-so ") == "cats theatre andso"


@pytest.mark.parametrize(
    ("given", "right", "exact", "overlap"),
    [
        ("The red fox.", ["red fox"], 1, 1),
        ("a red fox ran", ["the red fox", "a dog"], 0, 0.8),
        ("fox fox", ["fox"], 0, 2 / 3),
        ("dog", ["fox"], 0, 0),
        ("", ["fox"], 0, 0),
        ("the", ["a"], 1, 1),
    ],
)
def test_exact_match_and_f1(given: str, right: list[str], exact: float, overlap: float) -> None:
    """Words count with multiplicity, and the closest reference counts."""
    assert exact_match(given, right) == exact
    assert f1(given, right) == pytest.approx(overlap)


@pytest.mark.skipif(not DATA, reason="SAYSO_TEST_DATA names no folder")
def test_reference_answers_of_squad_score_one() -> None:
    """Each annotator's answer is an exact match with F1 1."""
    found = json.loads(next((Path(DATA or "") / "eval").glob("squad*.json")).read_text())
    answers = [
        [answer["text"] for answer in question["answers"]]
        for article in found["data"][:3]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        if question["answers"]
    ]
    assert answers
    assert all(exact_match(one, them) == f1(one, them) == 1 for them in answers for one in them)


def test_the_loss_of_held_out_replies_is_their_cross_entropy() -> None:
    """In packed rows, each conversation has its own loss, over its trained tokens only."""
    model = Transformer(ModelConfig(40, 2, 32, 2, 2, 16, 48, context=32)).initialize(torch.Generator().manual_seed(0))
    draw = np.random.default_rng(0)
    talks = [
        (draw.integers(0, 40, n).tolist(), [False, *(draw.random(n - 2) < 0.5).tolist(), True]) for n in (5, 9, 20, 3)
    ]
    nats, counts = reply_nats(model, talks, 24)
    for number, (ids, mask) in enumerate(talks):
        logits = model(torch.tensor([ids]))[0, :-1]
        each = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")[torch.tensor(mask[1:])]
        assert nats[number] == pytest.approx(each.sum().item(), abs=1e-4)
        assert counts[number] == sum(mask[1:])
    assert reply_loss(model, talks, 24).mean == pytest.approx(nats.sum() / counts.sum())
