"""A sweep fills its minutes, trains each run by its own schedule, and logs its prediction before the larger run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sayso import world
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import act_log, read_log
from sayso.cli.main import run
from sayso.judge.statistics.estimate import without_error
from sayso.law.emergence import Scores
from sayso.law.forecast import Forecast, forecast
from sayso.law.runs_file import read_runs
from sayso.law.scaling import Runs, ScalingLaw
from sayso.law.sweep import RUNS, SHORTEST, SweepPlan, SweepRun, ladder, plan_sweep
from sayso.law.sweep_training import SweepText, TrainedRun, as_readings, as_runs, train_run
from sayso.model import ModelConfig
from sayso.report.sweep import best_of_budgets
from sayso.run.law_sweep import Sweep, Swept, carry_out, make_plan, sweep, sweep_text
from sayso.token.train import train
from sayso.train.dial import batch_tokens, rows_of_tokens, shape_of_depth
from sayso.train.options import Training
from sayso.train.recipe import run_recipe

SHAPES = list(ladder(1024, 256))
LAW = ScalingLaw(1.6, 20.0, 60.0, 0.25, 0.3)


def speed(shape: ModelConfig) -> float:
    """Return the seconds per token of a machine with 25 GFLOP/s."""
    return shape.flops_per_token(256) / 25e9


@pytest.fixture(scope="module")
def plan() -> SweepPlan:
    return plan_sweep(60, SHAPES, speed, held_tokens=70_000)


def test_a_plan_fills_its_minutes(plan: SweepPlan) -> None:
    """With runs enough, of three sizes, and a larger one with at least 3 times the compute of each."""
    assert plan.seconds(speed, 70_000) == pytest.approx(3600, rel=0.02)
    assert len(plan.runs) >= RUNS
    assert len({one.parameters for one in plan.runs}) == 3
    assert min(one.steps for one in plan.runs) >= SHORTEST
    assert 3 <= plan.factor < 3.05
    assert plan.target.compute >= 3 * max(6 * one.parameters * one.tokens for one in plan.runs)
    assert [one.compute for one in plan.runs] == sorted(one.compute for one in plan.runs)


def test_the_larger_run_joins_a_size_and_tokens_that_were_seen_apart(plan: SweepPlan) -> None:
    target = plan.target
    same = [one for one in plan.runs if one.parameters == target.parameters]
    assert same
    assert max(one.tokens for one in same) < target.tokens / 2.9
    assert max(one.tokens for one in plan.runs) > target.tokens


def test_every_run_has_the_batch_size_of_its_own_tokens(plan: SweepPlan) -> None:
    for one in (*plan.runs, plan.target):
        assert one.rows * 256 == pytest.approx(batch_tokens(one.tokens), rel=0.1)
    assert len({one.rows for one in plan.runs}) > 2
    assert rows_of_tokens(3_000_000, 256) == 16  # 3e6 / 600 = 5,000 tokens are 19.5 rows; the nearest power of two
    assert batch_tokens(3_000_000) == 5_000


def test_the_longest_run_of_a_size_is_read_where_the_others_end(plan: SweepPlan) -> None:
    for size in {one.parameters for one in plan.runs}:
        *others, longest = sorted((one for one in plan.runs if one.parameters == size), key=lambda one: one.tokens)
        assert all(one.readings == () for one in others)
        read = [step * longest.rows * 256 for step in longest.readings]
        assert read == pytest.approx([one.tokens for one in others], rel=0.05)
        assert all(step % longest.readings[0] == 0 for step in longest.readings)


def test_more_minutes_train_larger_models() -> None:
    small, large = (plan_sweep(minutes, SHAPES, speed) for minutes in (10, 1000))
    assert small.target.parameters < large.target.parameters
    assert large.target.tokens >= 12 * large.target.parameters


def test_too_few_minutes_are_said_with_the_least() -> None:
    """Which then suffice, and hardly less does not."""
    with pytest.raises(UserError, match=r"--minutes must be at least [\d.]+ for a fit .* got 1\.") as caught:
        plan_sweep(1, SHAPES, speed)
    least = float(str(caught.value).split("at least ")[1].split()[0])
    assert len(plan_sweep(least, SHAPES, speed).runs) >= RUNS
    with pytest.raises(UserError, match="--minutes must be at least"):
        plan_sweep(0.9 * least, SHAPES, speed)


def test_the_ladder_is_that_of_the_dial() -> None:
    """One head wider each; a depth whose width is a multiple of 48 is the dial's own shape."""
    widths = [one.width for one in SHAPES]
    assert widths[:9] == [32, 64, 96, 128, 160, 192, 224, 256, 320]
    assert widths == sorted(widths)
    assert SHAPES[5] == shape_of_depth(4, 1024, 256)
    assert [one.layers for one in SHAPES[:6]] == [1, 1, 2, 3, 3, 4]


def test_a_plan_survives_a_file(plan: SweepPlan) -> None:
    assert SweepPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_the_design_predicts_within_the_noise(plan: SweepPlan) -> None:
    """Of losses that follow a law but for 0.3 % of noise, the larger run's is predicted within 1 %."""
    rng = np.random.default_rng(0)
    n, d = np.array([(one.parameters, one.tokens) for one in plan.runs], float).T
    runs = Runs(n, d, LAW.loss(n, d) * np.exp(0.003 * rng.standard_normal(len(n))))
    target = plan.target
    truth = LAW.loss(target.parameters, target.tokens)
    found = forecast(runs, target.parameters, target.tokens)
    assert abs(found.error(truth)) < 0.01
    assert found.low is None
    again = Forecast.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again == found
    exact = forecast(Runs(n, d, LAW.loss(n, d)), target.parameters, target.tokens, 5)
    assert exact.error(truth) == pytest.approx(0, abs=1e-4)
    assert exact.low == pytest.approx(truth, rel=1e-3)
    assert exact.high == pytest.approx(truth, rel=1e-3)


def test_the_design_hardly_amplifies_the_scatter_of_runs() -> None:
    """By linear propagation, the median over random laws, for nine and for twelve runs; as the docs say."""
    rng = np.random.default_rng(0)
    for minutes, runs, least, most in ((9, 9, 1.2, 1.6), (60, 12, 1.0, 1.25)):
        plan = plan_sweep(minutes, SHAPES, speed)
        assert len(plan.runs) == runs
        n, d = np.array([(one.parameters, one.tokens) for one in (*plan.runs, plan.target)], float).T
        x, y, spread = np.log(n / 3e5), np.log(d / 2e6), []
        for _ in range(200):
            parts = rng.uniform((1, 0.8, 0.6), (2.2, 1.6, 1.4))
            alpha, beta = rng.uniform(0.2, 0.5, 2)
            basis = np.stack((np.ones_like(x), np.exp(-alpha * x), np.exp(-beta * y)))
            slopes = np.stack((*basis, -parts[1] * x * basis[1], -parts[2] * y * basis[2]), 1)
            slopes /= (parts @ basis)[:, None]
            spread.append(np.linalg.norm(np.linalg.pinv(slopes[:-1]).T @ slopes[-1]))
        assert least < np.median(spread) < most


TINY = {"minutes": 0.6, "context": 16, "held_bytes": 400, "resamples": 2, "device": "cpu", "processes": 1}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with stories, and a tokenizer."""
    made = Life(tmp_path_factory.mktemp("sweep") / "life")
    texts = [world.story(0, number, "train") for number in range(30)]
    for split, some in (("train", texts[:26]), ("val", texts[26:])):
        write_jsonl(made.data("text") / f"{split}-00000.jsonl", ({"text": one, "source": "test"} for one in some))
    train("bpe", texts, 290).save(made.tokenizer)
    return made


@pytest.fixture(scope="module")
def text(life: Life) -> SweepText:
    return sweep_text(Sweep(life=life.root, **TINY))


def tiny_plan(options: Sweep, text: SweepText) -> SweepPlan:
    """Return a plan of runs of very few steps."""
    return make_plan(options, text, speed=lambda shape: shape.matmul_parameters * 3e-9, shortest=1)


@pytest.fixture(scope="module")
def swept(life: Life, text: SweepText) -> Swept:
    """A finished sweep of the life."""
    options = Sweep(life=life.root, **TINY)
    return carry_out(options, tiny_plan(options, text), text)


def test_a_prediction_is_written_with_its_outcome(life: Life, swept: Swept) -> None:
    folder = life.run("law-sweep")
    events = read_log(folder / "run.jsonl")
    assert [one["event"] for one in events] == ["start", "prediction", "outcome", "end"]
    assert events[1]["sha256"] == sha256(folder / "prediction.json") == swept.digest
    record = json.loads((folder / "prediction.json").read_text())
    assert record["forecast"]["loss"] == swept.forecast.loss
    assert record["factor"] >= 3
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["error"] == pytest.approx(swept.forecast.loss / swept.target.loss - 1)


def test_the_prediction_is_logged_before_the_larger_run_begins(
    tmp_path: Path, text: SweepText, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the larger run is begun, the file is there and its hash is the last line of the log."""
    folder, seen = Life(tmp_path).run("law-sweep"), []

    def trained(run: SweepRun, *_: object) -> TrainedRun:
        if run == swept.target.run:
            seen.append((read_log(folder / "run.jsonl")[-1].get("sha256"), sha256(folder / "prediction.json")))
        return next(one for one in (*swept.runs, swept.target) if one.run == run)

    monkeypatch.setattr("sayso.run.law_sweep.train_run", trained)
    options = Sweep(life=tmp_path, **TINY)
    carry_out(options, tiny_plan(options, text), text)
    assert seen == [(swept.digest, swept.digest)]


def test_a_sweep_is_locked_from_its_plan_to_its_end(
    life: Life, tmp_path: Path, text: SweepText, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other command can take the folder between the plan and the first run."""
    place = Life(Path(shutil.copytree(life.root, tmp_path / "life")))
    folder, asked = place.run("law-sweep"), []

    def begun(*given: object, **named: object) -> object:
        asked.append(1)
        with pytest.raises(UserError, match="is in use"), locked(folder):
            pass
        return act_log(*given, **named)

    monkeypatch.setattr("sayso.run.law_sweep.make_plan", tiny_plan)
    monkeypatch.setattr("sayso.run.law_sweep.act_log", begun)
    again = sweep(Sweep(life=place.root, **TINY))
    assert asked == [1]
    assert len(again.runs) == len(swept.runs)


def test_the_runs_can_be_fitted_again(life: Life, swept: Swept) -> None:
    """By `sayso law fit`, to the same law."""
    runs, own = read_runs(life.run("law-sweep") / "runs.jsonl"), as_runs(swept.runs)
    assert runs.loss.tolist() == own.loss.tolist()
    assert forecast(runs, 1e5, 1e6).law == swept.forecast.law
    law = json.loads((life.run("law-sweep") / "law.json").read_text())
    assert law["alpha"] == swept.forecast.law.alpha


def test_runs_are_drawn(life: Life, swept: Swept) -> None:
    for name, words in (("sweep", ("predicted", "measured")), ("emergence", ("8 in a row", "Smooth"))):
        drawn = (life.run("law-sweep") / f"{name}.svg").read_text()
        assert all(word in drawn for word in words)


def test_the_best_run_of_each_budget_is_shown(plan: SweepPlan) -> None:
    """Of four budgets and the larger run's."""
    trained = [
        TrainedRun(one, Scores(without_error(LAW.loss(one.parameters, one.tokens), 1), 1, {}))
        for one in (*plan.runs, plan.target)
    ]
    best = best_of_budgets(trained)
    assert len(best) == 5
    assert best[-1].run is plan.target
    for one in best:
        same = [each for each in trained if abs(each.run.compute / one.run.compute - 1) < 0.2]
        assert one.loss == min(each.loss for each in same)


def test_each_run_trains_to_the_end_of_its_own_schedule(life: Life, swept: Swept) -> None:
    """The rate of its last step is the least, and its tokens are its own."""
    for one in swept.runs:
        steps = [e for e in read_log(life.run("law-sweep") / one.run.name / "run.jsonl") if e["event"] == "step"]
        assert len(steps) == one.run.steps
        assert steps[-1]["tokens"] == one.run.tokens
        assert steps[-1]["lr"] == min(step["lr"] for step in steps)
        assert not (life.run("law-sweep") / one.run.name / "checkpoints").exists()


def test_one_schedule_gives_a_point_for_each_run(swept: Swept) -> None:
    readings, runs = as_readings(swept.runs), as_runs(swept.runs)
    assert len(readings) == len(runs)
    assert sorted(readings.parameters.tolist()) == sorted(runs.parameters.tolist())
    ends = {one.loss for one in swept.runs if one.run.readings}
    assert len(ends & {*readings.loss.tolist()}) == 3


def test_a_finished_run_is_not_repeated(
    life: Life, text: SweepText, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second command only reads, with the same results."""

    def never(*_: object) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr("sayso.law.sweep_training.run_recipe", never)
    options = Sweep(life=life.root, **TINY)
    again = carry_out(options, tiny_plan(options, text), text)
    assert again.forecast == swept.forecast
    assert [one.loss for one in again.runs] == [one.loss for one in swept.runs]


def test_an_interrupted_sweep_keeps_what_is_done(
    tmp_path: Path, text: SweepText, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the third run; the same command trains the others, and ends with the same losses."""
    options, whole, calls = Sweep(life=tmp_path, **TINY), run_recipe, []

    def interrupted(*given: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(*given)

    monkeypatch.setattr("sayso.law.sweep_training.run_recipe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out(options, tiny_plan(options, text), text)
    assert len(list(Life(tmp_path).run("law-sweep").glob("*/result.json"))) == 2
    again = carry_out(options, tiny_plan(options, text), text)
    assert len(calls) == 3 + len(again.runs) + 1 - 2
    assert [one.loss for one in again.runs] == [one.loss for one in swept.runs]
    assert again.forecast == swept.forecast


def test_a_changed_prediction_is_refused(tmp_path: Path, life: Life, text: SweepText, swept: Swept) -> None:
    place = Life(Path(shutil.copytree(life.root, tmp_path / "life")))
    path = place.run("law-sweep") / "prediction.json"
    path.write_text(path.read_text().replace('"factor": 3', '"factor": 4'))
    options = Sweep(life=place.root, **TINY)
    with pytest.raises(UserError, match="was changed after its hash was logged"):
        carry_out(options, tiny_plan(options, text), text)


def test_losses_that_rise_with_compute_are_said(
    tmp_path: Path, text: SweepText, swept: Swept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = max((one for one in swept.runs if one.run.readings), key=lambda one: one.run.parameters)

    def trained(run: SweepRun, *_: object) -> TrainedRun:
        found = next(one for one in (*swept.runs, swept.target) if one.run == run)
        nats = replace(found.scores.nats, mean=found.loss * (2 if run == worse.run else 1))
        return TrainedRun(run, replace(found.scores, nats=nats), found.readings)

    monkeypatch.setattr("sayso.run.law_sweep.train_run", trained)
    options = Sweep(life=tmp_path, **TINY)
    carry_out(options, tiny_plan(options, text), text)
    told = capsys.readouterr().out
    assert f"{worse.run.parameters:,} parameters have a higher loss after {worse.run.tokens:,} tokens" in told


def test_a_run_is_read_on_its_way(text: SweepText, tmp_path: Path) -> None:
    """Before its rate has decayed, where another run of its size would end; its readings survive in its result."""
    shape = next(ladder(text.shards.vocab_size, 16))
    one = SweepRun(shape, 16, 4, 8, (2, 4))
    found = train_run(one, tmp_path, text, Training(device="cpu", processes=1))
    assert [tokens for tokens, _ in found.readings] == [2 * 4 * 16, 4 * 4 * 16]
    assert found.readings[0][1] > found.readings[1][1] > found.loss
    assert train_run(one, tmp_path, text, Training(device="cpu", processes=1)) == found


def test_the_command_measures_this_machine_and_refuses_too_few_minutes(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sayso.train.measure.SECONDS", 0.0)
    words = ["law", "sweep", "--device", "cpu", "--processes", "1", "--life"]
    assert run([*words, str(life.root), "--minutes", "0.001"]) == 2
    told = capsys.readouterr()
    assert "--minutes must be at least" in told.err
    assert "got 0.001" in told.err
    assert run([*words, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err


def test_other_options_keep_the_earlier_sweep(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under another name; the same options continue with the stored plan, without measuring again."""
    place = Path(shutil.copytree(life.root, tmp_path / "life"))
    shutil.rmtree(place / "runs", ignore_errors=True)
    made: list[SweepPlan] = []

    def planned(options: Sweep, text: SweepText) -> SweepPlan:
        made.append(tiny_plan(options, text))
        return made[-1]

    monkeypatch.setattr("sayso.run.law_sweep.make_plan", planned)
    monkeypatch.setattr("sayso.run.law_sweep._carried_out", lambda options, plan, text: plan)
    assert sweep(Sweep(life=place, **TINY)) == sweep(Sweep(life=place, **TINY)) == made[0]
    assert len(made) == 1
    sweep(Sweep(life=place, **{**TINY, "minutes": 0.7}))
    sweep(Sweep(life=place, restart=True, **{**TINY, "minutes": 0.7}))
    assert len(made) == 3
    assert (place / "runs" / "law-sweep.1" / "plan.json").exists()
    assert (place / "runs" / "law-sweep.2" / "plan.json").exists()
    assert "The earlier sweep is kept as" in capsys.readouterr().out


def test_a_life_without_held_out_text_is_said(life: Life, tmp_path: Path) -> None:
    place = Path(shutil.copytree(life.root, tmp_path / "life"))
    (place / "data" / "text" / "val-00000.jsonl").unlink()
    with pytest.raises(UserError, match="no held-out text"):
        sweep(Sweep(life=place, **TINY))
