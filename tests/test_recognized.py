"""What was made by a version without some option is recognized as made, while the option has its default."""

from pathlib import Path

import pytest

from sayso.base.config import as_recorded
from sayso.base.files import read_json, write_json
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.law.sweep import ladder, plan_sweep
from sayso.run.law_sweep import Sweep, _store_plan, _stored_plan


def test_only_new_options_at_their_defaults_make_no_difference() -> None:
    now, defaults = {"a": 1, "b": 0, "c": []}, {"b": 0, "c": []}
    assert as_recorded(now, {"a": 1}, defaults) == {"a": 1}
    assert as_recorded(now, {"a": 1, "b": 0}, defaults) == {"a": 1, "b": 0}
    for stored in ({}, {"a": 2}, {"a": 1, "d": 1}, {"a": 1, "b": 1}):
        assert as_recorded(now, stored, defaults) == now
    assert as_recorded({**now, "b": 2}, {"a": 1}, defaults) == {**now, "b": 2}


def test_a_compiled_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which at first had one kind of norm and of feed-forward layer."""
    flags = ["rasp", "compile", "length", "--alphabet", "ab", "--length", "4", "--life", str(tmp_path)]
    assert run([*flags, "--name", "size"]) == 0
    path = Life(tmp_path).model("size") / "sayso.json"
    lineage = read_json(path)
    write_json(path, {key: value for key, value in lineage.items() if key not in ("norm", "mlp")}, sealed=True)
    capsys.readouterr()
    assert run([*flags, "--name", "size"]) == 0
    assert "has already been compiled" in capsys.readouterr().out
    assert run([*flags, "--name", "size", "--norm", "layer"]) == 2
    assert "already has a model 'size'" in " ".join(capsys.readouterr().err.split())


def test_a_sweep(tmp_path: Path) -> None:
    plan = plan_sweep(60, list(ladder(1024, 256)), lambda shape: shape.flops_per_token(256) / 25e9, held_tokens=70_000)
    folder = Life(tmp_path).run("law-sweep")
    _store_plan(Sweep(life=tmp_path), folder, plan)
    stored = read_json(folder / "plan.json")
    del stored["options"]["seed"]
    write_json(folder / "plan.json", stored, sealed=True)
    assert _stored_plan(Sweep(life=tmp_path), folder) == plan
    assert _stored_plan(Sweep(life=tmp_path, seed=9), folder) is None
