"""The act of pre-training, as a user runs it: what its recipes leave behind."""

from pathlib import Path

import pytest

from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.token.train import train

TEXTS = [
    "The fox went to the hill and found two red apples. " * 3,
    "The owl sat in the wood and saw the moon. " * 4,
] * 6
FLAGS = ["--depth", "1", "--steps", "8", "--rows", "2", "--context", "32", "--device", "cpu"]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with text and a tokenizer."""
    life = Life(tmp_path / "life")
    rows = [{"text": text, "source": "test"} for text in TEXTS]
    write_jsonl(life.data("text") / "train-00000.jsonl", rows)
    write_jsonl(life.data("text") / "val-00000.jsonl", rows[:2])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    train("bpe", TEXTS, 300).save(life.tokenizer)
    return life


def test_the_rows_of_the_ngrams_can_be_chosen(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Only with the recipe that has them."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--ngram-rows", "77"]
    assert run(flags) == 2
    assert "--ngram-rows requires --recipe fastest" in capsys.readouterr().err
    assert run([*flags, "--recipe", "fastest"]) == 0
    assert read_json(life.model("base") / "config.json")["ngram_rows"] == 77


@pytest.mark.parametrize(
    ("recipe", "family", "orders"), [("standard", "qwen3", None), ("fastest", "sayso", [2, 3, 4, 5])]
)
def test_a_recipe_leaves_a_model_of_its_family(
    recipe: str, family: str, orders: list[int] | None, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    """It learns, opens again, speaks, and is compared with transformers where that knows the family."""
    assert run(["pretrain", "--life", str(life.root), "--recipe", recipe, *FLAGS]) == 0
    config = read_json(life.model("base") / "config.json")
    assert (config["model_type"], config.get("ngrams")) == (family, orders)
    losses = [line["loss"] for line in read_log(life.run("pretrain-base") / "run.jsonl") if line["event"] == "step"]
    assert losses[-1] < losses[0]
    capsys.readouterr()
    assert (
        run(["generate", "The fox", "--life", str(life.root), "--model", "base", "--max-tokens", "5", "--seed", "1"])
        == 0
    )
    assert capsys.readouterr().out.strip()
    assert run(["verify", "--life", str(life.root), "--model", "base", "--no-resume"]) == 0
    told = capsys.readouterr()
    assert ("nothing to compare" in told.out + told.err) == (family == "sayso")


def test_the_first_window_limits_the_first_layer_only(life: Life) -> None:
    """The model is still one that transformers opens, with equal logits."""
    flags = ["--depth", "3", "--first-window", "4", *FLAGS[2:]]
    assert run(["pretrain", "--life", str(life.root), *flags]) == 0
    config = read_json(life.model("base") / "config.json")
    assert (config["model_type"], config["sliding_window"]) == ("qwen3", 4)
    assert config["layer_types"] == ["sliding_attention", "full_attention", "full_attention"]
    assert run(["verify", "--life", str(life.root), "--model", "base", "--no-resume"]) == 0
