"""What the page shows of a life's runs: their states, and their curves, read on as the log grows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.lock import holder_of, locked, stop_holder
from sayso.base.log import RunLog, act_log
from sayso.report.facts import curve
from sayso.report.run_curves import MOST_POINTS, RunCurves, RunRecord, thinned
from sayso.report.run_list import RunList
from sayso.run.report import Report

HOLD = """
import sys
from pathlib import Path
from sayso.base.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def step(number: int, loss: float | None = 1.0, **more: Any) -> dict[str, Any]:
    """Return the fields of a step's line."""
    fields = {"step": number, "steps": 40, "loss": loss, "lr": 0.5, "tokens": 10 * number, "seconds": 2.0 * number}
    return {**fields, "gradient_norm": 0.1, "tokens_per_second": 5, **more}


def everything(record: RunRecord) -> dict[str, Any]:
    """Return all curves across everything."""
    return {f"{name} {x}": record.curve(name, x) for name in record.names() for x in ("step", "tokens", "seconds")}


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path / "life")


def test_curves_of_a_run_are_those_of_its_log(trained_life: Life) -> None:
    """Of pre-training: the losses that the report draws, evaluations by step, and rates from the schedule's factor."""
    found = RunCurves(trained_life).look("pretrain-base", everything)
    drawn = curve(trained_life.run("pretrain-base") / "run.jsonl")
    assert drawn is not None
    assert found["loss step"] == [
        [one, float(f"{loss:.6g}")] for one, loss in zip(drawn.steps, drawn.losses, strict=True)
    ]
    assert [x for x, _ in found["loss tokens"]][-1] == drawn.tokens
    assert found["val_bpb step"] == [[one, float(f"{bits:.6g}")] for one, bits in drawn.held_out]
    lines = [json.loads(line) for line in (trained_life.run("pretrain-base") / "run.jsonl").read_text().splitlines()]
    [speed] = [line for line in lines if line["event"] == "speed"]
    factors = [line["lr"] for line in lines if line["event"] == "step"]
    for group, peak in speed["peak_rates"].items():
        assert [y for _, y in found[f"learning_rate {group} step"]] == pytest.approx(
            [peak * one for one in factors], rel=1e-5
        )
    [summary] = [one for one in RunList(trained_life).every() if one.name == "pretrain-base"]
    assert (summary.act, summary.state, summary.step, summary.steps) == (
        "pretrain",
        "finished",
        drawn.steps[-1],
        drawn.steps[-1],
    )
    assert summary.trains
    assert summary.loss == pytest.approx(np.mean(drawn.losses[-20:]))
    assert summary.memory_mb == next(line["peak_memory_mb"] for line in lines if line["event"] == "end")


def test_a_log_that_grows_is_read_on(life: Life) -> None:
    """After every line, also in the middle of one, the curves are those of the whole log read at once."""
    going, path = RunCurves(life), life.run("custom-one") / "run.jsonl"
    with act_log(life, "custom", "one", Report()) as log:
        log.write("speed", device="cpu", peak_rates={"matrix": 0.02})
        for number in range(1, 30):
            log.write("step", **step(number, 5.0 / number, **({"kl": 0.5} if number % 3 == 0 else {})))
            if number == 20:
                log.write("rewind", step=15, skipped=2)
            if number % 7 == 0:
                log.write("val", step=number, held_out_loss=1.0 / number, sample=f"text {number}")
                with path.open("ab") as file:
                    file.write(b'{"event": "step", "st')
                assert going.look("custom-one", everything) == RunCurves(life).look("custom-one", everything)
                log = RunLog(path)  # as a process does that goes on after a kill
            assert going.look("custom-one", everything) == RunCurves(life).look("custom-one", everything)
    record = going.look("custom-one", lambda one: one)
    assert [note["event"] for note in record.notes] == ["rewind"]
    assert [one["rows"][0]["reply"] for one in record.samples] == ["text 7", "text 14", "text 21", "text 28"]
    assert [x for x, _ in record.curve("loss")] == [*range(1, 16), *range(21, 30)]
    assert record.curve("learning_rate matrix")[0] == [1, 0.01]


def test_a_resumed_run_counts_its_steps_once_and_all_of_its_time(life: Life) -> None:
    """The seconds of a resumed run go on where the first process ended; a run after an end is a new one."""
    path = life.run("custom-one") / "run.jsonl"
    log = RunLog(path)
    log.write("start", act="custom", time="2026-05-01T00:00:00+00:00", config={})
    for number in range(1, 6):
        log.write("step", **step(number, float(number)))
    log.write("start", act="custom", time="2026-05-01T01:00:00+00:00", config={})
    log.write("resume", step=3)
    for number in (4, 5, 6):
        log.write("step", **step(number, 10.0 * number, seconds=2.0 * (number - 3)))
    record = RunCurves(life).look("custom-one", lambda one: one)
    assert record.curve("loss") == [[1, 1], [2, 2], [3, 3], [4, 40], [5, 50], [6, 60]]
    assert [x for x, _ in record.curve("loss", "seconds")] == [2, 4, 6, 12, 14, 16]
    log.write("start", act="custom", time="2026-05-01T02:00:00+00:00", config={})  # there was no checkpoint
    for number in (1, 2):
        log.write("step", **step(number, 100.0 * number))
    assert RunCurves(life).look("custom-one", lambda one: one.curve("loss")) == [[1, 100], [2, 200]]
    log.write("end", seconds=3.0, peak_memory_mb=1.0)
    log.write("start", act="custom", time="2026-05-02T00:00:00+00:00", config={})
    log.write("step", **step(1, 9.0))
    assert RunCurves(life).look("custom-one", lambda one: one.curve("loss")) == [[1, 9]]


def test_values_that_are_not_numbers_are_left_out(life: Life) -> None:
    """A loss that is not finite is null in the log."""
    log = RunLog(life.run("custom-one") / "run.jsonl")
    log.write("start", act="custom", config={})
    for number, loss in enumerate([2.0, None, 1.0], 1):
        log.write("step", **step(number, loss))
    assert RunCurves(life).look("custom-one", lambda one: one.curve("loss")) == [[1, 2], [3, 1]]
    [summary] = RunList(life).every()
    assert summary.loss == 1.5


@pytest.mark.parametrize("count", [5, MOST_POINTS, 20_000])
def test_a_thinned_curve_keeps_its_extremes(count: int) -> None:
    """Bounded in length; the lowest, highest, first and last values are there, and smoothed, within the range."""
    x, y = np.arange(count, dtype=float), np.random.default_rng(1).normal(size=count)
    y[count // 2] = 50.0
    raw, smoothed = thinned(x, y, 0.0), thinned(x, y, 0.4)
    assert len(raw) <= MOST_POINTS + 2
    assert len(smoothed) <= MOST_POINTS
    assert (raw[0][0], raw[-1][0], smoothed[-1][0]) == (0, count - 1, count - 1)
    for ends in ([one[1] for one in raw], [value for one in smoothed for value in one[2:]]):
        assert (min(ends), max(ends)) == pytest.approx((y.min(), y.max()), rel=1e-5)
    assert all(low <= mean <= high for _, mean, low, high in smoothed)
    assert max(mean for _, mean, _, _ in smoothed) < 50.0


def test_the_state_of_a_run(life: Life) -> None:
    """Running while a process holds it, finished by its end, else interrupted; a damaged log hides no other."""
    for name in ("one", "two", "three"):
        with act_log(life, "custom", name, Report()) as log:
            log.write("step", **step(10))
            log.write("step", **step(20))
    for name in ("one", "two"):
        path = life.run(f"custom-{name}") / "run.jsonl"
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:-2]) + b"\n")
    path = life.run("custom-three") / "run.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step": 20', b'"step": 21'))
    runs = RunList(life)
    before = runs.marks()
    with locked(life.run("custom-one")):
        found = {one.name: one for one in runs.every()}
        assert runs.marks() != before
        assert runs.marks() == runs.marks()
    assert {name: one.state for name, one in found.items()} == {
        "custom-one": "running", "custom-two": "interrupted", "custom-three": "damaged",
    }  # fmt: skip
    assert (found["custom-one"].step, found["custom-one"].left) == (20, 40.0)
    assert "checksum" in (found["custom-three"].problem or "")
    assert {one.state for one in runs.every()} == {"interrupted", "damaged"}
    assert runs.marks() == before
    with pytest.raises(UserError, match="Line 3 of the log of 'custom-three' is damaged"):
        RunCurves(life).look("custom-three", everything)
    with pytest.raises(FileNotFoundError):
        RunCurves(life).look("custom-none", everything)
    with pytest.raises(UserError, match="A name must consist of"):
        RunCurves(life).look("../models", everything)


def test_only_the_process_that_holds_a_run_is_stopped(tmp_path: Path) -> None:
    """By SIGTERM; a lock file that names a process which holds nothing stops nobody, as after a kill."""
    path = tmp_path / "pretrain-base"
    assert stop_holder(path) is None
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    held, left = holder_of(path), (tmp_path / ".pretrain-base.lock").read_text()
    stopped = stop_holder(path)
    assert held == stopped
    assert stopped is not None
    assert stopped.pid == child.pid
    assert child.wait() == -15
    child.communicate()
    assert (holder_of(path), stop_holder(path)) == (None, None)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        (tmp_path / ".pretrain-base.lock").write_text(left.replace(str(child.pid), str(other.pid)))
        assert holder_of(path) is not None
        assert stop_holder(path) is None
        other.communicate()
    assert other.returncode == 0
