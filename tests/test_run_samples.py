"""Replies to fixed prompts during a run: in its log, and the first next to the last in a table."""

from pathlib import Path

import pytest
import torch

from sayso.base.log import RunLog, read_log
from sayso.judge.samples import Samples
from sayso.model import ModelConfig, Transformer
from sayso.sample.sampling import Sampling
from sayso.token.train import train

PROMPTS = [[{"role": "user", "content": "Who has the hat?"}], [{"role": "user", "content": "the cat [b]"}]]


@pytest.fixture(scope="module")
def tokenizer():
    """Return a tokenizer with a small vocabulary."""
    return train("bpe", ["the red hat of the old cat, and the cat of the red hat. " * 20], 300)


@pytest.fixture(scope="module")
def model(tokenizer) -> Transformer:
    """Return a small random model."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        layers=1,
        width=32,
        heads=2,
        kv_heads=1,
        head_size=16,
        mlp_width=64,
        context=96,
    )
    return Transformer(config).initialize(torch.Generator().manual_seed(0)).eval()


def samples(tokenizer, path: Path) -> Samples:
    """Return samples that are scored by their prompt's index and their length."""
    sampling = Sampling(temperature=0, max_tokens=8)
    return Samples(tokenizer, PROMPTS, RunLog(path), sampling, lambda number, reply: number + len(reply) / 1000)


def test_replies_are_logged_and_shown_next_to_the_first(tokenizer, model, tmp_path: Path, capsys) -> None:
    """A resumed run reads the earlier ones, and markup in a text is not interpreted."""
    path = tmp_path / "run.jsonl"
    first = samples(tokenizer, path).take(model, 0)
    resumed = samples(tokenizer, path)
    last = resumed.take(model, 7)
    assert [(line["step"], len(line["rows"])) for line in read_log(path)] == [(0, 2), (7, 2)]
    assert [row.prompt for row in first] == ["Who has the hat?", "the cat [b]"]
    assert [row.score for row in last] == [number + len(row.reply) / 1000 for number, row in enumerate(last)]
    assert all(row.tokens <= 8 for row in last)
    resumed.show()
    shown = capsys.readouterr().out
    for expected in ("step 0", "step 7", "[b]"):
        assert expected in shown


def test_without_prompts_there_is_no_table(tokenizer, model, tmp_path: Path, capsys) -> None:
    """Nothing is generated either."""
    none = Samples(tokenizer, [], RunLog(tmp_path / "run.jsonl"), Sampling(max_tokens=8))
    assert none.take(model, 0) == []
    none.show()
    assert capsys.readouterr().out == ""
