"""The average of two models: each weight lies between theirs, and only models of one shape have one."""

from pathlib import Path

import pytest
import torch

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model
from sayso.weights.lineage import read_lineage

TOKENIZER, OTHER = (train("bpe", [text * 9], 300) for text in ("the cat sat on the mat. ", "a dog ran home again. "))


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with a model and its tuned descendant, a wider one, and one of another tokenizer."""
    life = Life(tmp_path / "life")
    for seed, (name, width, tokenizer) in enumerate(
        [("base", 32, TOKENIZER), ("tuned", 32, TOKENIZER), ("wide", 64, TOKENIZER), ("alien", 32, OTHER)]
    ):
        torch.manual_seed(seed)
        model = Transformer(ModelConfig(300, 1, width, 2, 1, 16, 32, context=32))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        save_model(model, tokenizer, life.model(name), {"stage": name, "name": name})
    return life


def averaged(life: Life, *words: str) -> int:
    return run(["merge", *words, "--life", str(life.root)])


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_each_weight_is_the_weighted_mean(share: float, life: Life) -> None:
    """The share is that of the parent; the lineage names both, and the stage is that of the tuned one."""
    words = ["--average", "tuned", "--parent", "base", "--share", str(share), "--name", "between"]
    assert averaged(life, *words) == 0
    base, tuned, between = (load_model(life.model(name))[0].state_dict() for name in ("base", "tuned", "between"))
    for name, weight in between.items():
        torch.testing.assert_close(weight, share * base[name] + (1 - share) * tuned[name])
    lineage = read_lineage(life.model("between"))
    assert lineage["stage"] == "tuned"
    assert lineage["parent"].startswith("tuned ")
    assert lineage["data"][0].startswith("average base ")


def test_the_same_average_is_made_once(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Another one under its name needs --replace."""
    words = ["--average", "tuned", "--parent", "base", "--name", "between"]
    assert [averaged(life, *words) for _ in range(2)] == [0, 0]
    assert "'between' has already been merged" in capsys.readouterr().out
    assert averaged(life, *words, "--share", "0.1") == 2
    assert "This life already has a model 'between'" in capsys.readouterr().err
    assert averaged(life, *words, "--share", "0.1", "--replace") == 0


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--average", "wide"], "need the same shape and tokenizer; 'base' and 'wide' differ."),
        (["--average", "alien"], "need the same shape and tokenizer; 'base' and 'alien' differ."),
        (["--average", "tund"], "Did you mean 'tuned'"),
        ([], "A model is merged with --adapter FOLDER or averaged with --average MODEL; give one of them."),
        (["--average", "tuned", "--share", "1"], "--share must be above 0 and below 1; got 1."),
    ],
)
def test_models_that_have_no_average_are_refused(
    words: list[str], rule: str, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    assert averaged(life, *words, "--parent", "base", "--name", "between") == 2
    assert rule in " ".join(capsys.readouterr().err.split())
    assert not life.model("between").exists()
