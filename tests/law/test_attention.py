"""A head by hand equals the model's own, in numbers and as the script that is written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.law.attention import rebuild_head, seen
from sayso.law.attention_script import script_of
from sayso.model import ModelConfig, Transformer
from sayso.model.config import Rope
from sayso.report.attention import drawn
from sayso.token.train import train
from sayso.weights.folder import save_model

OURS = ModelConfig(300, 2, 32, 4, 2, 8, 48, context=64)
SHAPES = {
    "ours": OURS,
    "gpt2": replace(
        OURS, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", biases=("qkv", "out", "mlp")
    ),
    "gemma2": replace(OURS, norm_place="both", qk_norm="none", attention_cap=2.0, windows=(3, 0)),
    "gemma3": replace(OURS, norm_place="both", windows=(4, 0), rope=Rope(local_theta=100.0)),
    "olmo2": replace(OURS, norm_place="post", qk_norm="whole"),
    "smollm3": replace(OURS, qk_norm="none", rope=Rope("linear", 2.0, nope_layers=(1,))),
    "qwen2": replace(OURS, qk_norm="none", biases=("qkv",)),
    "yarn": replace(OURS, rope=Rope("yarn", 4.0, original=16, attention_factor=1.3)),
}


@pytest.fixture(params=SHAPES)
def life(request: pytest.FixtureRequest, tmp_path: Path) -> Life:
    """A life with a model of each kind, whose weights are all random."""
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9], 300)
    model = Transformer(replace(SHAPES[request.param], vocab_size=tokenizer.vocab_size))
    generator = torch.Generator().manual_seed(0)
    model.initialize(generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    save_model(model, tokenizer, Life(tmp_path).model("base"), {"stage": "base", "name": "base"})
    return Life(tmp_path)


def opened(life: Life) -> Transformer:
    import sayso

    return sayso.load("base", life=life.root).module


def test_each_head_equals_the_models_own(life: Life) -> None:
    """In every layer; the last step is the matrix product of the steps before."""
    model, ids = opened(life), [0, 5, 9, 5, 7, 8, 9]
    for layer in range(2):
        for head in range(4):
            found = rebuild_head(model, ids, layer, head)
            assert found.difference < 1e-5
            assert found.weights.sum(-1) == pytest.approx(torch.ones(7))
            assert found.written.shape == (7, 32)
            torch.testing.assert_close(found.dots, found.q @ found.k.T)


def test_the_script_runs_and_checks_itself(life: Life, tmp_path: Path) -> None:
    """And fails if the weights are others than those it was written for."""
    for layer, head in ((0, 1), (1, 3)):
        script = script_of(opened(life), "base", str(life.root), [0, 5, 9, 5, 7, 8, 9], layer, head)
        exec(compile(script, "head.py", "exec"), {})
        broken = script.replace("scores = q @ k.T * D**-0.5", "scores = q @ k.T")
        with pytest.raises(AssertionError):
            exec(compile(broken, "head.py", "exec"), {})


def test_the_command_prints_draws_and_writes(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, python = tmp_path / "head.svg", tmp_path / "head.py"
    words = ["law", "attention", "base", "the cat [/b] [red]", "--life", str(life.root)]
    assert run([*words, "--layer", "1", "--head", "2", "--out", str(svg), "--python", str(python)]) == 0
    told = capsys.readouterr().out
    assert "q · k" in told
    assert "Difference from the model's own, at most:" in told
    assert svg.read_text().startswith("<svg")
    exec(compile(python.read_text(), "head.py", "exec"), {})
    for extra, says in (
        (["--layer", "2"], "--layer must be from 0 to 1 in this model; got 2."),
        (["--head", "4"], "--head must be from 0 to 3"),
        (["--position", "99"], "--position must be from"),
        (["--out", str(svg)], "already exists"),
    ):
        assert run([*words, *extra]) == 2
        assert says in capsys.readouterr().err


def test_a_window_limits_what_is_seen() -> None:
    assert seen(4, 2).tolist() == [
        [True, False, False, False], [True, True, False, False], [False, True, True, False], [False, False, True, True],
    ]  # fmt: skip
    assert seen(3, 0).sum() == 6


def test_one_row_is_rebuilt_at_a_time(life: Life) -> None:
    with pytest.raises(UserError, match="one row of ids; got 2"):
        rebuild_head(opened(life), [[1, 2], [3, 4]], 0, 0)


def test_labels_are_escaped() -> None:
    svg = drawn([[1.0, 0.0], [0.25, 0.75]], ["<a>", "'b'"], "A & B")
    assert "<a>" not in svg
    assert svg.count("<rect") == 4
    assert 'fill-opacity="0.500"' in svg
