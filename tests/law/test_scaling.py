"""Scaling laws: the published fit is reached, planted laws are recovered, and what follows from a law is right."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize_scalar

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.law.frontier import envelope, isoflop_law, isoflops
from sayso.law.runs_file import read_runs
from sayso.law.scaling import PARAMETERS, Fit, Runs, ScalingLaw, _Problem, fit_law, rising, without_highest
from sayso.law.uncertainty import bootstrap, extrapolation

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "/nowhere")) / "scaling"
PUBLISHED = pytest.mark.skipif(not DATA.exists(), reason="SAYSO_TEST_DATA names no folder with published vectors")
LAW = ScalingLaw(1.8, 480.0, 2100.0, 0.35, 0.37)


def grid(noise: float = 0.0, seed: int = 0) -> Runs:
    """Runs of nine sizes and eight numbers of tokens that follow the law, but for noise of the log loss."""
    sizes, tokens = np.geomspace(4e7, 1e10, 9), np.geomspace(5e8, 3e11, 8)
    n, d = (axis.ravel() for axis in np.meshgrid(sizes, tokens))
    loss = LAW.loss(n, d) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return Runs(n, d, loss)


@PUBLISHED
def test_the_published_points_have_the_published_law() -> None:
    """Of 240 runs of Hoffmann et al. 2022, as replicated by Besiroglu et al. 2024: as good a fit, in its intervals."""
    runs = without_highest(read_runs(DATA / "chinchilla_points.csv"), 5)
    assert len(runs) == 240
    fit = fit_law(runs)
    assert fit.objective <= 0.0010183
    law = fit.law
    assert 1.769 <= law.E <= 1.871
    assert 285 <= law.A <= 744
    assert 1042 <= law.B <= 5810
    assert 0.317 <= law.alpha <= 0.373
    assert 0.331 <= law.beta <= 0.415
    assert law.exponent == pytest.approx(0.513, abs=0.005)
    intervals = bootstrap(runs, fit, 60)
    low, high = intervals.interval("a", 0.8)
    assert high - low == pytest.approx(0.051, abs=0.02)
    assert intervals.values["E"].std() == pytest.approx(0.026, abs=0.01)


@PUBLISHED
def test_it_fits_the_runs_of_another_laboratory() -> None:
    """104 runs of three data sets, each with a law of its own."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for path in sorted((DATA / "mlfoundations" / "models").glob("*.json")):
        record = json.loads(path.read_text())
        given, results = record["hyperparameters"], record["results"]
        rows.setdefault(record["dataset_name"], []).append((given["params"], given["tokens"], results[0]["loss"]))
    assert sum(map(len, rows.values())) == 104
    for name, found in rows.items():
        fit = fit_law(Runs(*np.array(found).T))
        assert np.median(np.abs(fit.residuals)) < 0.02, name
        assert 0.1 < fit.law.alpha < 1
        assert 0.1 < fit.law.beta < 1


def test_a_planted_law_is_recovered() -> None:
    """Exactly without noise, and nearly with some."""
    found = fit_law(grid())
    for name in PARAMETERS:
        assert getattr(found.law, name) == pytest.approx(getattr(LAW, name), rel=1e-3)
    assert found.objective < 1e-12
    assert np.abs(found.residuals).max() < 1e-6
    noisy = fit_law(grid(0.003)).law
    assert pytest.approx(LAW.E, abs=0.05) == noisy.E
    assert noisy.exponent == pytest.approx(LAW.exponent, abs=0.05)


def test_one_wild_run_does_not_bend_the_law() -> None:
    """Beyond delta, residuals count linearly."""
    runs = grid()
    loss = runs.loss.copy()
    loss[30] *= 2
    found = fit_law(Runs(runs.parameters, runs.tokens, loss))
    assert pytest.approx(LAW.E, rel=0.01) == found.law.E
    assert found.residuals[30] == pytest.approx(-np.log(2), abs=0.02)


def test_the_gradient_is_that_of_the_objective() -> None:
    """Also where some residuals are beyond delta."""
    problem = _Problem(grid(0.01), 0.01)
    x = problem.inside(ScalingLaw(1.7, 400, 1500, 0.33, 0.35))
    scale = np.abs(problem(x)[1]).max()
    assert check_grad(lambda y: problem(y)[0], lambda y: problem(y)[1], x, epsilon=1e-7) < 1e-4 * scale
    again = problem.outside(x)
    assert (again.E, again.beta) == (pytest.approx(1.7), pytest.approx(0.35))
    assert (pytest.approx(400), pytest.approx(1500)) == (again.A, again.B)


def test_the_optimal_size_has_the_least_loss() -> None:
    """Of all sizes at that compute, by search; and it grows with the exponent."""
    for compute in (1e19, 1e23):
        found = minimize_scalar(lambda log_n, c=compute: LAW.loss(np.exp(log_n), c / 6 / np.exp(log_n)), (15, 30))
        parameters, tokens = LAW.best(compute)
        assert np.log(parameters) == pytest.approx(found.x, abs=1e-3)
        assert 6 * parameters * tokens == pytest.approx(compute)
    assert np.log(LAW.best(1e23)[0] / LAW.best(1e19)[0]) / np.log(1e4) == pytest.approx(LAW.exponent)


def test_tokens_for_a_loss() -> None:
    assert LAW.loss(1e9, LAW.tokens_for(2.5, 1e9)) == pytest.approx(2.5)
    assert LAW.tokens_for(1.9, 1e8) == float("inf")
    assert isinstance(LAW.loss(1e9, 1e10), float)


def test_intervals_cover_what_was_planted() -> None:
    runs = grid(0.004)
    intervals = bootstrap(runs, fit_law(runs), 60, seed=1)
    for name, planted in (("E", LAW.E), ("alpha", LAW.alpha), ("beta", LAW.beta), ("a", LAW.exponent)):
        low, high = intervals.interval(name, 0.999)  # one of four at 95 % would often miss
        assert low < planted < high
    narrow = intervals.interval("a", 0.5)
    assert narrow[1] - narrow[0] < intervals.interval("a")[1] - intervals.interval("a")[0]
    assert intervals.values["E"].shape == (60,)
    again = bootstrap(runs, fit_law(runs), 3, seed=1)
    assert again.values["E"].tolist() == intervals.values["E"][:3].tolist()


def test_a_law_without_an_end_has_intervals_too() -> None:
    """Losses that keep falling to nothing have an E of nearly 0, from which refits can start."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e5, 1e6, 3), np.geomspace(1e6, 1e7, 3)))
    runs = Runs(n, d, 9e3 * n**-0.8 + 1e-9 * d**-0.1)
    fit = fit_law(runs)
    assert fit.law.E < 0.01
    vanished = Fit(ScalingLaw(0.0, *(getattr(fit.law, name) for name in PARAMETERS[1:])), 0.0, fit.residuals)
    assert np.isfinite(bootstrap(runs, vanished, 3).values["E"]).all()


def test_intervals_are_those_of_the_fit() -> None:
    """With its delta: a run far from the law bends only fits that count it by its square."""
    runs = grid(0.002)
    loss = runs.loss.copy()
    loss[5] *= 1.6
    bent = Runs(runs.parameters, runs.tokens, loss)
    spread = [bootstrap(bent, fit_law(bent, delta=delta), 25, delta=delta).values["E"].std() for delta in (1e-3, 1.0)]
    assert spread[1] > 3 * spread[0]
    ahead = [extrapolation(bent, delta=delta).fit.objective for delta in (1e-3, 1.0)]
    assert ahead[1] > 10 * ahead[0]


def test_exponents_stay_positive() -> None:
    """Where more tokens gave higher losses, the law has no gain from them, and still a best size."""
    runs = grid()
    law = fit_law(Runs(runs.parameters, runs.tokens, runs.loss[np.argsort(-runs.tokens, kind="stable")])).law
    assert min(law.alpha, law.beta) >= 1e-3
    assert all(isinstance(value, float) and value > 0 for value in law.best(1e20))


def test_the_largest_runs_are_predicted_from_the_others() -> None:
    found = extrapolation(grid(0.002), 0.25)
    assert len(found.runs) == 18
    assert found.factor > 1
    assert np.abs(found.errors).max() < 0.02
    assert len(found.fit.residuals) == 54


def test_other_approaches_find_the_exponent() -> None:
    """IsoFLOP parabolas at six budgets, and the best runs of each; both only nearly, as published."""
    rows = [
        (n, c / 6 / n)
        for c in np.geomspace(1e18, 1e21, 6)
        for n in LAW.best(c)[0] * np.geomspace(0.3, 3.3, 9)
    ]  # fmt: skip
    n, d = np.array(rows).T
    runs = Runs(n, d, LAW.loss(n, d))
    parabolas = isoflops(runs)
    assert len(parabolas) == 6
    for one in parabolas:
        assert np.exp(one.middle) == pytest.approx(LAW.best(one.compute)[0], rel=0.1)
        assert one.low == pytest.approx(LAW.loss(*LAW.best(one.compute)), rel=1e-3)
    assert isoflop_law(parabolas).a == pytest.approx(LAW.exponent, abs=0.01)
    found = envelope(runs)
    assert found.a == pytest.approx(LAW.exponent, abs=0.03)
    assert found(1e20) == pytest.approx(LAW.best(1e20)[0], rel=0.15)


def test_budgets_without_a_lowest_point_are_left_out() -> None:
    """All sizes on one side of the best, or too few of them."""
    n = LAW.best(1e20)[0] * np.array([0.02, 0.04, 0.08, 0.16])
    runs = Runs(n, 1e20 / 6 / n, LAW.loss(n, 1e20 / 6 / n))
    assert isoflops(runs) == []
    assert isoflops(runs[:3]) == []
    with pytest.raises(UserError, match="at least 3 budgets; the runs have 0"):
        isoflop_law([])


def test_rising_losses_are_found() -> None:
    runs = Runs(np.array([1e6, 1e6, 1e6, 2e6]), np.array([3e8, 1e8, 2e8, 4e8]), np.array([3.0, 3.5, 3.6, 9.0]))
    assert rising(runs) == [(1, 2)]
    assert rising(runs, 0.05) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no runs"),
        ("parameters,tokens,loss\n", "has no runs"),
        ("parameters,tokens\n1,2\n", "line 2 has no loss; its columns are parameters, tokens"),
        ("parameters,loss\n1,2\n", "line 2 has no tokens or flops"),
        ("parameters,tokens,loss\n1,2,3\n1,two,3\n", "line 3: tokens must be a positive number; got 'two'"),
        ('{"parameters": 1e999, "tokens": 2, "loss": 3}', "line 1: parameters must be a positive number; got inf"),
        ('{"parameters": 1' + "0" * 400 + ', "tokens": 2, "loss": 3}', "line 1: parameters must be a positive number"),
        ('{"parameters": 1' + "0" * 5000 + ', "tokens": 2, "loss": 3}', "line 1 is not JSON"),
        ("[" * 10_000, "has no"),
        ('parameters,tokens,loss\n"' + "1" * 200_000, "is not CSV"),
        ("N,D,L\n1,2,-3\n", "line 2: l must be a positive number; got '-3'"),
        ('{"parameters": 1, "tokens": 2, "loss": 3}\n{"parameters"\n', "line 2 is not JSON"),
        ("parameters,tokens,loss\n" + "1,2,3\n" * 5, "needs at least 6 runs; got 5"),
        ("parameters,tokens,loss\n" + "".join(f"5,{n},3\n" for n in range(1, 9)), "in their parameters; all have 5"),
        ("parameters,tokens,loss\n" + "".join(f"{n},7,3\n" for n in range(1, 9)), "in their tokens; all have 7"),
    ],
)
def test_files_that_hold_no_law_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    assert run(["law", "fit", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_the_command_prints_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From FLOPs instead of tokens, with any capitals; a law, its intervals, what it predicts, and a drawing."""
    runs, path = grid(0.002), tmp_path / "runs.csv"
    rows = zip(runs.parameters, runs.compute, runs.loss, strict=True)
    path.write_text("Model Size,Training FLOP,Loss\n" + "".join(f"{n},{c},{loss}\n" for n, c, loss in rows))
    out, life = tmp_path / "law.svg", Life(tmp_path / "life")
    few = ["--resamples", "5", "--drop-highest", "2", "--life", str(life.root)]
    assert run(["law", "fit", str(path), *few, "--out", str(out)]) == 0
    record = json.loads((life.run("law") / "law.json").read_text())
    assert record["runs"] == 70
    assert record["intervals"]["E"][0] < record["intervals"]["E"][1]
    assert record["E"] == pytest.approx(LAW.E, abs=0.05)
    told = capsys.readouterr().out
    assert "from 70 runs" in told
    assert "95 % interval" in told
    assert "Compute-optimal N grows as" in told
    assert "Fitted to the 56 runs with the least compute, it predicts the 14 others" in told
    assert out.read_text().startswith("<svg")
    monkeypatch.chdir(tmp_path)
    assert run(["law", "fit", str(path), "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert run(["law", "fit", str(path), "--drop-highest", "72"]) == 2
    assert "from 0 to 71 can be left out; got 72" in capsys.readouterr().err
    assert run(["law", "fit", str(tmp_path / "none.csv")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_runs_are_checked() -> None:
    with pytest.raises(UserError, match="got 2, 1 and 1"):
        Runs(np.ones(2), np.ones(1), np.ones(1))
    with pytest.raises(UserError, match="The loss of run 2 must be a positive number; got nan"):
        Runs(np.ones(2), np.ones(2), np.array([1.0, np.nan]))
    with pytest.raises(UserError, match="between 0 and 1; got 1"):
        extrapolation(grid(), 1)
    with pytest.raises(UserError, match="at least 2 resamples; got 1"):
        bootstrap(grid(), fit_law(grid()), 1)
