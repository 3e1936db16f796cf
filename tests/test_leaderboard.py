"""The leaderboard has every score of every model, and exports what Every Eval Ever's schema asks for."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from sayso.base.files import read_json, write_json
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.statistics.estimate import Estimate, estimate
from sayso.report.board import Measure, leaderboard, read_board
from sayso.report.facts import read_facts
from sayso.run.leaderboard import Leaderboard
from sayso.run.leaderboard import leaderboard as act

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
DETAILS = {"type": "object", "additionalProperties": TEXT}


def record(required: list[str], **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these properties and no others."""
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


NAMED = record(["name", "version"], name=TEXT, version=TEXT)
UNCERTAINTY = record(
    [],
    num_samples={"type": "integer"},
    standard_error=record(["value"], value=NUMBER, method=TEXT),
    confidence_interval=record(["lower", "upper"], lower=NUMBER, upper=NUMBER, confidence_level=NUMBER),
)
RESULT = record(
    ["evaluation_name", "source_data", "metric_config", "score_details"],
    evaluation_name=TEXT,
    source_data=record(["dataset_name", "source_type"], dataset_name=TEXT, source_type={"const": "other"}),
    metric_config=record(
        ["lower_is_better", "score_type", "min_score", "max_score"],
        lower_is_better={"type": "boolean"},
        score_type={"const": "continuous"},
        min_score=NUMBER,
        max_score=NUMBER,
        additional_details=DETAILS,
    ),
    score_details=record(["score"], score=NUMBER, uncertainty=UNCERTAINTY),
)
SCHEMA = record(
    [
        *("schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library"),
        "evaluation_results",
    ],
    schema_version={"const": "0.2.1"},
    evaluation_id=TEXT,
    retrieved_timestamp={"type": "string", "pattern": "^[0-9]+$"},
    source_metadata=record(
        ["source_type", "source_organization_name", "evaluator_relationship"],
        source_name=TEXT,
        source_type={"enum": ["documentation", "evaluation_run"]},
        source_organization_name=TEXT,
        evaluator_relationship={"enum": ["first_party", "third_party", "collaborative", "other"]},
    ),
    eval_library=NAMED,
    model_info=record(["name", "id"], name=TEXT, id=TEXT, inference_engine=NAMED),
    evaluation_results={"type": "array", "items": RESULT, "minItems": 1},
)
"""What the published schema requires of the parts that are exported, written down from its description."""


def scored(life: Life, name: str, right: list[float], loss: float) -> None:
    """Write the records of an evaluation, as `sayso evaluate` does."""
    accuracy = estimate(right).as_dict()
    bits = Estimate(loss, 0.1, 9, loss - 0.2, loss + 0.2).as_dict()
    own = {"key": {}, "bpb": {"real": bits}, "families": {"who": accuracy}, "conversations": None}
    own |= {"smallworld_accuracy": accuracy, "instructions": accuracy}
    write_json(life.run(f"evaluate-{name}") / "scores.json", own, sealed=True)
    task = {"metric": "acc", "scores": {"acc": accuracy}}
    suite = {"suite": "core", "tasks": {"copa": task}, "core": Estimate(0.1, 0.01, 20, 0.08, 0.12).as_dict()}
    write_json(life.run(f"evaluate-{name}") / "core.json", suite, sealed=True)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """Return a life with scores of two models, one of them elsewhere."""
    found = Life(tmp_path / "life")
    scored(found, "theirs-1234", [0, 0, 1], 1.5)
    scored(found, "base", [1, 1, 0], 1.25)
    return found


def test_every_score_is_on_the_board(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    board = read_board(life)
    assert board.models == ("base", "theirs-1234")
    names = [(one.group, one.name) for one in board.measures]
    assert names == [
        ("text", "bits per byte, real"),
        ("small world", "story questions"),
        ("small world", "instructions"),
        ("core", "copa"),
        ("core", "CORE"),
    ]
    best = {one.name: one.best() for one in board.measures}
    assert best["bits per byte, real"] == best["story questions"] == "base"
    found = act(Leaderboard(life=life.root))
    assert found["text: bits per byte, real"]["theirs-1234"]["mean"] == 1.5
    assert found["core: copa"]["base"] == estimate([1, 1, 0]).as_dict()
    told = capsys.readouterr().out
    assert "1.250 (1.050 to 1.450)" in told
    assert "core: copa" in told


def test_the_best_of_one_is_nobody() -> None:
    one = Measure("a", "b", False, True, {"base": estimate([1.0, 0.0])})
    assert one.best() is None
    low = Measure("a", "b", True, True, {"x": estimate([1.0, 1.0]), "y": estimate([0.0, 1.0])})
    assert low.best() == "y"


def test_exported_files_fit_the_schema(life: Life, tmp_path: Path) -> None:
    """And a file that lacks a part, or has one of another type, does not."""
    assert run(["leaderboard", "--life", str(life.root), "--export", "eee", "--out", str(tmp_path / "out")]) == 0
    check = jsonschema_rs.validator_for(SCHEMA)
    for name in ("base", "theirs-1234"):
        written = read_json(tmp_path / "out" / f"{name}.json")
        check.validate(written)
        assert written["model_info"]["name"] == name
        scores = {one["evaluation_name"]: one["score_details"]["score"] for one in written["evaluation_results"]}
        assert scores["text: bits per byte, real"] == (1.25 if name == "base" else 1.5)
        assert len(scores) == 5
        interval = written["evaluation_results"][0]["score_details"]["uncertainty"]["confidence_interval"]
        assert (interval["lower"], interval["confidence_level"]) == (
            pytest.approx(scores["text: bits per byte, real"] - 0.2),
            0.95,
        )
    del written["eval_library"]
    assert not check.is_valid(written)


def test_a_model_without_an_interval_is_exported_without_one(life: Life, tmp_path: Path) -> None:
    scored(life, "base", [1.0], 1.25)
    path = life.run("evaluate-base") / "core.json"
    data = json.loads(path.read_text())
    data["tasks"]["copa"]["scores"]["acc"] |= {"se": None, "low": None, "high": None}
    data.pop("seal", None)
    write_json(path, {key: value for key, value in data.items() if key in ("suite", "tasks", "core")}, sealed=True)
    assert run(["leaderboard", "--life", str(life.root), "--export", "eee", "--out", str(tmp_path / "out")]) == 0
    written = read_json(tmp_path / "out" / "base.json")
    jsonschema_rs.validator_for(SCHEMA).validate(written)
    copa = next(one for one in written["evaluation_results"] if one["evaluation_name"] == "core: copa")
    assert {*copa["score_details"]["uncertainty"]} == {"num_samples"}


def test_the_report_draws_the_board(life: Life, tmp_path: Path) -> None:
    drawn = leaderboard(read_facts(life))
    assert 'id="leaderboard"' in drawn
    assert "<b>1.250</b>" in drawn
    assert "<b>1.500</b>" not in drawn
    one = Life(tmp_path / "one")
    scored(one, "base", [1, 0], 1.0)
    assert leaderboard(read_facts(one)) == ""


def test_a_life_without_scores_is_told_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["leaderboard", "--life", str(tmp_path)]) == 2
    assert "has no scores; run sayso evaluate first" in capsys.readouterr().err
