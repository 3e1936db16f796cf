"""The curve and metrics of a run in the terminal, from logs that acts wrote."""

import math
from pathlib import Path

import pytest

from sayso.base.life import Life
from sayso.base.log import RunLog, read_log
from sayso.cli.main import run
from sayso.report.run_status import HEIGHT, WIDTH, chart, status

TRAINED = {
    "pretrain-base": "step 3 of 3, ended",
    "finetune-tuned": "step 3 of 3, ended",
    "align-aligned": "step 6 of 6, ended",
    "reward-reward": "step 7 of 7, ended",
    "reinforce-practised": "step 2 of 2, ended",
    "improve-improved": "round 1 of 1, ended",
    "improve-improved-1": "step 1 of 1, ended",
    "selfplay-player": "round 1 of 1, ended",
    "selfplay-player-1": "step 1 of 1, ended",
}
OTHERS = ("prepare", "tokenizer-train", "tokenizer-compare", "evaluate-tuned")


def printed(life: Life, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the output of train-status."""
    capsys.readouterr()
    assert run(["train-status", *words, "--life", str(life.root)]) == 0
    return capsys.readouterr().out


def test_the_chart_has_a_dot_for_each_point() -> None:
    """High values are at the top, later ones on the right, the range at the left; only finite ones are drawn."""
    lines = chart([(1, 4.0), (51, 2.0), (101, 3.0), (60, math.nan), (70, math.inf)])
    assert len(lines) == HEIGHT
    assert lines[0].startswith("   4.000 │")
    assert lines[-1].startswith("   2.000 │")
    rows = [line.split("│")[1] for line in lines]
    assert all(len(row) == WIDTH for row in rows)
    assert rows[0][0] != "⠀"
    assert rows[-1][WIDTH // 2] != "⠀"
    assert sum(bin(ord(dot) - 0x2800).count("1") for row in rows for dot in row) == 3
    assert chart([(1, math.nan)]) == []


@pytest.mark.parametrize("name", [*TRAINED, *OTHERS])
def test_the_status_of_every_act_can_be_shown_at_any_event(
    lived: Life, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the log after each of its events; before the first step there is no curve."""
    events = read_log(lived.run(name) / "run.jsonl")
    assert events[-1]["event"] == "end"
    for count in range(1, len(events) + 1):
        text = str(status(name, events[:count]))
        first = text.splitlines()[0]
        drawn = any(event["event"] in ("step", "round") for event in events[:count])
        assert first.endswith("ended" if count == len(events) else "running or interrupted")
        assert ("│" in text) == drawn
        assert ("before its first step" in first) == (not drawn and count < len(events))
    assert f"{name}: {TRAINED.get(name, 'no steps, ended')}" in printed(lived, capsys, name)


def test_the_status_has_the_latest_metrics(lived: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss, held-out metrics, speed, metrics of the act's loss, and the time left."""
    text = printed(lived, capsys, "pretrain-base")
    events = read_log(lived.run("pretrain-base") / "run.jsonl")
    for part in (
        "over the last 3 steps",
        "val_bpb ",
        "at step 3",
        "of the machine's peak",
        "gradient norm",
        "sample:",
    ):
        assert part in text
    assert "left" not in text
    timed = [{**event, "seconds": 4.0 * event["step"]} if event["event"] == "step" else event for event in events]
    halfway = str(status("pretrain-base", timed[: events.index({**events[-1]}) - 2]))
    assert halfway.endswith("8 s, 4 s left")
    for part in ("accuracy", "held_out_accuracy", "margin"):
        assert part in printed(lived, capsys, "align-aligned")
    for part in ("value_loss", "spread", "held_out"):
        assert part in printed(lived, capsys, "reinforce-practised")
    assert "score " in printed(lived, capsys, "improve-improved")
    assert "points 0" in printed(lived, capsys, "selfplay-player")


def test_the_time_left_of_a_resumed_run_is_based_on_the_steps_since(lived: Life) -> None:
    """Earlier steps may have had another speed."""
    events = read_log(lived.run("pretrain-base") / "run.jsonl")
    start, steps = events[0], [event for event in events if event["event"] == "step"]
    slow = [{**steps[0], "seconds": 1000.0}, start, {**steps[1], "seconds": 2.0}]
    assert str(status("pretrain-base", [start, *slow])).endswith("2 s, 2 s left")


def test_the_latest_training_run_is_shown_by_default(lived: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Even if an act that does not train wrote its log later."""
    newest = max((path for path in lived.root.glob("runs/*/plan.json")), key=lambda path: log_of(path).stat().st_mtime)
    assert log_of(lived.run("evaluate-tuned") / "plan.json").stat().st_mtime > log_of(newest).stat().st_mtime
    assert printed(lived, capsys).startswith(f"{newest.parent.name}: ")


def log_of(plan: Path) -> Path:
    """Return the log next to a plan."""
    return plan.with_name("run.jsonl")


def test_a_missing_run_is_an_error(tmp_path: Path, lived: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the command for a first run, or the nearest name."""
    assert run(["train-status", "--life", str(tmp_path / "life")]) == 2
    assert "sayso pretrain" in capsys.readouterr().err
    assert run(["train-status", "pretrain-bose", "--life", str(lived.root)]) == 2
    assert "pretrain-base" in capsys.readouterr().err


def test_following_stops_at_the_end_of_the_run(lived: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The status of a finished run is shown once."""
    assert "step 3 of 3, ended" in printed(lived, capsys, "pretrain-base", "--follow")


def test_a_run_that_has_just_started_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its log has one line."""
    life = Life(tmp_path / "life")
    RunLog(life.run("finetune-tuned") / "run.jsonl").write("start", act="finetune", config={})
    assert printed(life, capsys, "finetune-tuned") == "finetune-tuned: before its first step, running or interrupted\n"
