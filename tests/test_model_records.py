"""What the page shows of a life's models: parents, sizes, checkpoints, and what the gate found."""

import json
import shutil
from pathlib import Path

import pytest

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.report.model_records import checkpoints, gate_findings, model_marks, model_records
from sayso.weights.lineage import read_lineage


@pytest.fixture
def life(trained_life: Life, tmp_path: Path) -> Life:
    """A copy of a life with a trained model, and one that was made of it."""
    copy = Life(tmp_path / "life")
    shutil.copytree(trained_life.root, copy.root)
    return copy


def test_models_have_their_parents(life: Life) -> None:
    """Present, replaced by other weights of the name, or gone; a damaged record is named, and hides no other."""
    root = str(life.root)
    assert run(["quantize", "base", "--n", "0", "--life", root]) == 0
    base, small = model_records(life)
    assert (base.name, base.stage, base.parent, base.bits, base.run) == ("base", "base", None, None, "pretrain-base")
    assert (small.name, small.stage, small.parent, small.parent_state) == ("base-8bit", "quantised", "base", "present")
    assert small.bits == 8
    assert base.parameters == read_lineage(life.model("base"))["parameters"]
    assert base.bytes == sum(file.stat().st_size for file in life.model("base").iterdir())
    assert small.bytes < base.bytes
    assert base.metrics["steps"] == 30
    before = model_marks(life)
    path = life.model("base") / "sayso.json"
    text = path.read_text()
    made = json.loads(text)
    path.write_text(
        json.dumps({**{key: value for key, value in made.items() if key != "crc32"}, "weights_sha256": "0" * 64})
    )
    assert model_records(life)[1].parent_state == "replaced"
    assert model_marks(life) != before
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    damaged, other = model_records(life)
    assert "damaged" in (damaged.problem or "")
    assert (other.problem, other.parent_state) == (None, "replaced")
    shutil.rmtree(life.model("base"))
    [alone] = model_records(life)
    assert alone.parent_state == "gone"


def test_every_checkpoint_is_listed(life: Life) -> None:
    [one] = checkpoints(life)
    folder = life.run("pretrain-base") / "checkpoints" / f"step-{one['step']:06d}"
    assert one == {"run": "pretrain-base", "step": 30, "bytes": sum(file.stat().st_size for file in folder.iterdir())}


def test_the_gate_can_be_asked_without_a_promotion(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """What it found is kept for each candidate and alias; only a promotion is in the history."""
    root = str(life.root)
    ask = ["promote", "base", "--life", root]
    assert run(["evaluate", "base", "--n", "0", "--text-bytes", "500", "--baseline-bytes", "2000", "--life", root]) == 0
    assert run([*ask, "--check", "--reason", "why"]) == 2
    assert run([*ask, "--check"]) == 0
    assert "The gate's verdict on 'base' for 'stable': passed." in capsys.readouterr().out
    [found] = gate_findings(life)
    assert (found["candidate"], found["alias"], found["verdict"], found["entry"]) == ("base", "stable", "passed", None)
    assert found["weights"] == read_lineage(life.model("base"))["weights_sha256"]
    assert [one["requirement"] for one in found["findings"]] == ["first model"]
    assert run(["aliases", "--life", root]) == 0
    assert "There are no aliases yet" in capsys.readouterr().out
    assert run([*ask, "--to", "candidate"]) == 0
    assert run(["aliases", "--life", root]) == 0
    assert "promoted" in capsys.readouterr().out
    assert {one["alias"] for one in gate_findings(life)} == {"stable", "candidate"}
    (life.run("gate") / "base=stable.json").write_text("{")
    assert [one["alias"] for one in gate_findings(life)] == ["candidate"]
