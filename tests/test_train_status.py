"""A run's curve and figures in the terminal, from its log alone."""

from pathlib import Path

import pytest

from sayso.base.life import Life
from sayso.base.log import RunLog
from sayso.cli.main import run
from sayso.run.train_status import HEIGHT, WIDTH, chart


def write_run(life: Life, name: str, losses: list[float], *, ended: bool) -> None:
    """Write the log of a run with these losses."""
    log = RunLog(life.run(name) / "run.jsonl")
    log.write("start", act="pretrain")
    for step, loss in enumerate(losses, 1):
        log.write(
            "step", step=step, steps=50, loss=loss, lr=0.5, gradient_norm=0.25, tokens=step * 100, seconds=step * 2.0,
            tokens_per_second=100, mfu=0.4,
        )  # fmt: skip
    log.write("val", step=len(losses), val_bpb=1.25)
    if ended:
        log.write("end", seconds=100.0)


def test_the_chart_has_a_dot_for_each_point() -> None:
    """High values are above, later ones to the right, and the range stands at the left."""
    lines = chart([(1, 4.0), (51, 2.0), (101, 3.0)])
    assert len(lines) == HEIGHT
    assert lines[0].startswith("   4.000 │")
    assert lines[-1].startswith("   2.000 │")
    rows = [line.split("│")[1] for line in lines]
    assert all(len(row) == WIDTH for row in rows)
    assert rows[0][0] != "⠀"
    assert rows[-1][WIDTH // 2] != "⠀"
    assert sum(bin(ord(dot) - 0x2800).count("1") for row in rows for dot in row) == 3


def test_the_status_tells_the_latest_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The named run, or the last one written to, with what is left of it."""
    life = Life(tmp_path / "life")
    write_run(life, "pretrain-base", [4.0] * 30, ended=False)
    write_run(life, "finetune-tuned", [1.5] * 50, ended=True)
    assert run(["train-status", "--life", str(life.root)]) == 0
    latest = capsys.readouterr().out
    assert "finetune-tuned: step 50 of 50, ended" in latest
    assert "left" not in latest
    assert run(["train-status", "pretrain-base", "--life", str(life.root)]) == 0
    told = capsys.readouterr().out
    for part in ("step 30 of 50", "loss 4.0000", "val_bpb 1.25 at step 30", "100 tokens a second, 40.0%", "40 s left"):
        assert part in told


def test_a_run_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No run at all, and a name that is nearly one."""
    life = Life(tmp_path / "life")
    assert run(["train-status", "--life", str(life.root)]) == 2
    assert "sayso pretrain" in capsys.readouterr().err
    write_run(life, "pretrain-base", [4.0], ended=False)
    assert run(["train-status", "pretrain-bose", "--life", str(life.root)]) == 2
    assert "pretrain-base" in capsys.readouterr().err


def test_following_ends_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that ended is shown once, and the command is done."""
    life = Life(tmp_path / "life")
    write_run(life, "pretrain-base", [4.0] * 50, ended=True)
    assert run(["train-status", "--follow", "--life", str(life.root)]) == 0
    assert "step 50 of 50, ended" in capsys.readouterr().out
