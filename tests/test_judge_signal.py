"""Signal and noise of a task: published definitions, Tukey's test, and what a leaderboard says of them."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.statistics.estimate import Estimate, estimate
from sayso.judge.statistics.signal import all_at_chance, signal_to_noise
from sayso.run.leaderboard import Leaderboard, leaderboard


def test_signal_and_noise_are_relative_spreads() -> None:
    """(0.6 - 0.3) / 0.45 over the deviation 0.01 / mean 0.5."""
    found = signal_to_noise([0.3, 0.45, 0.6], [0.49, 0.5, 0.51])
    assert found.signal == pytest.approx(0.3 / 0.45)
    assert found.noise == pytest.approx(0.01 / 0.5)
    assert found.ratio == pytest.approx(0.3 / 0.45 / 0.02)
    assert found.least == pytest.approx(0.01 * stats.studentized_range.ppf(0.95, 3, 2))
    assert (found.apart, found.pairs) == (3, 3)
    near = signal_to_noise([0.3, 0.32, 0.6], [0.49, 0.5, 0.51])
    assert (near.apart, near.pairs) == (2, 3)


def test_equal_models_are_told_apart_as_often_as_promised() -> None:
    """In 3 to 7 % of 2,000 draws of five models, whose scores vary as much as the checkpoints."""
    draw = np.random.default_rng(0)
    called = sum(signal_to_noise(draw.normal(0.5, 0.02, 5), draw.normal(0.5, 0.02, 6)).apart > 0 for _ in range(2000))
    assert 0.03 <= called / 2000 <= 0.07


def test_spreads_of_zero_are_defined() -> None:
    assert signal_to_noise([0.5, 0.5], [0.5, 0.5]).ratio == 0
    assert signal_to_noise([0.5, 0.5], [0.5, 0.5]).apart == 0
    assert signal_to_noise([0.5, 0.6], [0.5, 0.5]).ratio == float("inf")
    assert signal_to_noise([-0.1, 0.1], [0.1, 0.2]).signal == float("inf")
    with pytest.raises(UserError, match="got 1 and 3"):
        signal_to_noise([0.5], [0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="got 2 and 1"):
        signal_to_noise([0.5, 0.4], [0.1])


def test_a_task_is_at_chance_if_no_interval_is_above_a_guess() -> None:
    low, high = estimate([1, 0, 0, 0] * 9), estimate([1, 1, 1, 1, 0] * 9)
    assert all_at_chance({"a": low}, 0.25)
    assert not all_at_chance({"a": low, "b": high}, 0.25)
    assert all_at_chance({"a": estimate([1, 0, 0, 0, 1, 0, 0])}, 0.25), "above a guess, but not beyond its error"


def scored(life: Life, name: str, rate: float, bits: float) -> None:
    """Write the record of a suite of two tasks: one that works, and one at chance."""
    good = Estimate(rate, 0.01, 900, rate - 0.02, rate + 0.02).as_dict()
    guess = Estimate(0.25, 0.03, 300, 0.2, 0.3).as_dict()
    of_gold = Estimate(bits, 0.01, 300, bits - 0.02, bits + 0.02).as_dict()
    tasks = {
        "copa": {"metric": "acc", "baseline": 0.5, "scores": {"acc": good, "bits_per_byte": of_gold}},
        "arc": {"metric": "acc", "baseline": 0.25, "scores": {"acc": guess, "bits_per_byte": of_gold}},
    }
    write_json(life.run(f"evaluate-{name}") / "small.json", {"suite": "small", "tasks": tasks}, sealed=True)


def test_the_leaderboard_says_which_tasks_can_tell_models_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At chance, the bits of the right answer count; the run's earlier checkpoints are noise, not models."""
    life = Life(tmp_path / "life")
    for name, rate, bits in (("run-1", 0.69, 1.02), ("run-2", 0.71, 1.01), ("run-3", 0.7, 1.0), ("other", 0.8, 1.001)):
        scored(life, name, rate, bits)
    found = leaderboard(Leaderboard(life=life.root, noise=("run-1", "run-2", "run-3")))
    twice = leaderboard(Leaderboard(life=life.root, noise=("run-3", "run-1", "run-1", "run-2", "run-3")))
    assert twice["small: copa"]["noise"] == pytest.approx(found["small: copa"]["noise"]), "each checkpoint counts once"
    copa, arc = found["small: copa"], found["small: arc"]
    expected = signal_to_noise([0.8, 0.7], [0.69, 0.71, 0.7])
    assert (copa["at_chance"], copa["chance"]) == (False, 0.5)
    assert (copa["ratio"], copa["apart"], copa["pairs"]) == (pytest.approx(expected.ratio), 1, 1)
    assert (arc["at_chance"], arc["apart"]) == (True, 0)
    assert arc["mean"] == pytest.approx(1.0005)
    assert arc["signal"] == pytest.approx(0.001 / 1.0005)
    told = capsys.readouterr().out
    assert "At chance for all models, so judged by the bits per byte of the right answer: small: arc." in told
    assert "Cannot tell any of these models apart, beyond the noise of the run: small: arc." in told


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["run-1"], "--noise needs two or more checkpoints or seeds of a run; got run-1"),
        (["run-1", "run-4"], "--noise must name evaluated models: run-1, run-2; got 'run-4'"),
        (["run-1", "run-2"], "--noise compares the run with other models"),
        (["run-1", "run-2", "--export", "eee"], "run sayso leaderboard once with each"),
    ],
)
def test_noise_needs_a_run_and_other_models(
    words: list[str], rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path / "life")
    for name in ("run-1", "run-2"):
        scored(life, name, 0.6, 1.0)
    assert run(["leaderboard", "--life", str(life.root), "--noise", *words]) == 2
    assert rule in capsys.readouterr().err
