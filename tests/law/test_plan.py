"""A plan spends its budget, is what pre-training would do, and says what smaller models cost."""

import json
from pathlib import Path
from typing import Any

import pytest

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.law.plan import plan_run, run_of_depth, smaller
from sayso.law.scaling import ScalingLaw
from sayso.model import Transformer
from sayso.run.plan import PlanOptions, plan
from sayso.train.dial import TOKENS_PER_PARAMETER, shape_of_depth

LAW = ScalingLaw(1.8, 480.0, 2100.0, 0.35, 0.37)


@pytest.mark.parametrize("flops", [1e14, 1e16, 1e18])
def test_a_plan_spends_its_budget(flops: float) -> None:
    """Within a batch; its tokens are steps of whole batches, about the best number for each weight."""
    found = plan_run(flops, 8192, 512)
    assert found.flops == pytest.approx(flops, rel=0.01)
    assert found.tokens == found.steps * found.rows * found.row_tokens
    ratio = found.tokens / found.parameters
    assert TOKENS_PER_PARAMETER * 0.9 < ratio < TOKENS_PER_PARAMETER * 4
    assert found.loss is None
    larger = plan_run(100 * flops, 8192, 512)
    assert larger.parameters > found.parameters
    assert larger.rows >= found.rows


def test_parameters_and_memory_are_those_of_the_model() -> None:
    found = plan_run(1e14, 1000, 128)
    model = Transformer(found.config)
    norms = sum(weight.numel() for weight in model.parameters() if weight.dim() == 1)
    assert found.weights == sum(weight.numel() for weight in model.parameters()) - norms
    assert found.memory()["weights"] == 4 * found.weights
    half = found.memory(max(1, found.rows // 2))["activations"]
    assert half == pytest.approx(found.memory()["activations"] / 2, rel=0.01) if found.rows > 1 else True
    assert found.cache_bytes == 4 * found.config.layers * found.config.kv_heads * found.config.head_size
    assert found.serving_flops == 2 * found.config.matmul_parameters


def test_the_expected_loss_is_the_laws() -> None:
    found = plan_run(1e17, 8192, 1024, LAW)
    assert found.loss == pytest.approx(LAW.loss(found.parameters, found.tokens))


def test_smaller_models_reach_the_same_loss() -> None:
    """With more tokens and more training, and less to serve; they pay after so many served tokens."""
    best = plan_run(1e18, 8192, 1024, LAW)
    found = smaller(best, LAW)
    assert found
    for one in found:
        assert one.plan.config.layers < best.config.layers
        assert one.plan.loss == pytest.approx(best.loss, rel=1e-3)
        assert one.extra == pytest.approx(one.plan.flops / best.flops)
        total = [each.flops + one.pays_after * each.serving_flops for each in (best, one.plan)]
        if one.pays_after:
            assert total[0] == pytest.approx(total[1])
    assert [one.plan.config.layers for one in found] == sorted((one.plan.config.layers for one in found), reverse=True)


def test_a_model_that_never_reaches_the_loss_is_left_out() -> None:
    steep = ScalingLaw(1.0, 1e9, 1.0, 1.0, 0.5)
    best = run_of_depth(3, 1e16, 1000, 128, steep)
    assert smaller(best, steep) == []


def test_a_budget_below_the_smallest_model_is_refused() -> None:
    config = shape_of_depth(1, 8192, 1024)
    least = TOKENS_PER_PARAMETER * config.matmul_parameters * config.flops_per_token(1024)
    assert plan_run(1.001 * least, 8192, 1024).config.layers == 1
    with pytest.raises(UserError, match="The budget must be at least"):
        plan_run(0.99 * least, 8192, 1024)


def test_a_budget_beyond_the_dial_is_refused() -> None:
    with pytest.raises(UserError, match="no deeper model than 64 layers; got 1e\\+30"):
        plan_run(1e30, 8192, 1024)


@pytest.mark.parametrize(
    ("options", "flops"),
    [
        ({"flops": 1e17}, 1e17),
        ({"gpus": 2, "hours": 0.5, "peak": 1e14, "utilization": 0.5}, 2 * 1800 * 0.5 * 1e14),
        ({"dollars": 6.0, "price": 3.0, "peak": 1e14, "utilization": 0.25}, 2 * 3600 * 0.25 * 1e14),
    ],
)
def test_every_kind_of_budget_is_converted(tmp_path: Path, options: dict[str, Any], flops: float) -> None:
    found = plan(PlanOptions(life=tmp_path, **options))
    assert found.plan.flops == pytest.approx(flops, rel=0.01)


def test_minutes_are_those_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its fastest matrix product and the share that training reaches."""
    monkeypatch.setattr("sayso.run.plan.matmul_peak", lambda _: 1e11)
    assert run(["plan", "--minutes", "30", "--utilization", "0.5", "--device", "cpu", "--life", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "At 5e+10 FLOPs per second: 30.0 minutes." in told
    assert "no loss is expected" in told


def test_the_law_of_the_life_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life = Life(tmp_path / "life")
    path = life.run("law") / "law.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"E": 1.8, "A": 480, "B": 2100, "alpha": 0.35, "beta": 0.37}))
    assert run(["plan", "--flops", "1e18", "--life", str(life.root)]) == 0
    told = capsys.readouterr().out
    assert "Expected loss:" in told
    assert "Smaller models that reach the same loss" in told
    for name, value in (("E", None), ("beta", 0)):
        broken = json.dumps({"E": 1, "A": 1, "B": 1, "alpha": 1, "beta": 1} | {name: value})
        path.write_text(broken)
        assert run(["plan", "--flops", "1e18", "--life", str(life.root)]) == 2
        assert "must be a positive number; got" in capsys.readouterr().err
    path.write_text("{}")
    assert run(["plan", "--flops", "1e18", "--life", str(life.root)]) == 2
    assert "law.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Give one budget"),
        (["--flops", "1e18", "--minutes", "3"], "got --minutes and --flops"),
        (["--gpus", "2"], "--gpus needs --hours"),
        (["--gpus", "2", "--hours", "1"], "--gpus needs --peak"),
        (["--dollars", "2"], "--dollars needs --price"),
        (["--flops", "1e3"], "The budget must be at least"),
        (["--flops", "1e18", "--law", "none.json"], "There is no file 'none.json'"),
    ],
)
def test_budgets_that_cannot_be_planned_are_said(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["plan", *words]) == 2
    assert says in capsys.readouterr().err
