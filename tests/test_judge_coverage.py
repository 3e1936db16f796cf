"""Simulation with planted truths: 95 % intervals contain them in 93 to 97 % of cases, tests at 5 % err in 3 to 7 %."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from sayso.judge.statistics.bootstrap import bootstrap_test, level
from sayso.judge.statistics.clusters import clustered
from sayso.judge.statistics.distributions import mcnemar
from sayso.judge.statistics.estimate import Estimate, estimate, student, wilson
from sayso.judge.statistics.significance import compare_items, holm, matched_rates

RUNS = 2000


def covered(found: list[Estimate], truth: float | np.ndarray) -> float:
    """Return the fraction of intervals that contain the truth."""
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    return float(((low <= truth) & (truth <= high)).mean())


def wilson_coverage(n: int, rates: np.ndarray) -> np.ndarray:
    """Return the exact coverage of Wilson's interval for each rate, by summing over all counts."""
    ends = np.array([wilson(k / n, n) for k in range(n + 1)])
    inside = (ends[:, 0] <= rates[:, None]) & (rates[:, None] <= ends[:, 1])
    return (stats.binom.pmf(np.arange(n + 1), n, rates[:, None]) * inside).sum(1)


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_wilson_covers_rates_on_average(n: int) -> None:
    """Averaged over rates, as Brown, Cai and DasGupta (2001) do, and in simulations with as many planted rates.

    For a single rate the coverage oscillates, whatever the interval: between about 0.83 and 1 near 0 and 1, where n
    times the rate is below 2, and within 0.92 and 0.98 at rates from 0.1 to 0.9.
    """
    rates = (np.arange(2000) + 0.5) / 2000
    exact = wilson_coverage(n, rates)
    assert 0.945 <= exact.mean() <= 0.96
    assert exact.min() > 0.82
    middle = exact[(rates > 0.1) & (rates < 0.9)]
    assert middle.min() > 0.92
    assert middle.max() < 0.985
    planted = np.random.default_rng(n).random(RUNS)
    counts = np.random.default_rng(n + 1).binomial(n, planted)
    found = [estimate([1.0] * k + [0.0] * (n - k)) for k in counts]
    assert 0.93 <= covered(found, planted) <= 0.97


def test_coverage_of_wilson_at_extreme_rates_dips() -> None:
    """Twenty items cover a rate of 0.0089 in 98 % of cases, but one of 0.0088, below one of the ends, in 84 %."""
    assert wilson_coverage(20, np.array([0.0089, 0.0088])) == pytest.approx([0.986, 0.838], abs=0.002)


def test_intervals_are_defined_at_none_of_n() -> None:
    """Wilson's is from 0, and not longer than Clopper and Pearson's by more than a tenth (statsmodels)."""
    for n in (1, 20, 1000):
        found = estimate([0.0] * n)
        assert found.low == 0
        assert (found.low, found.high) == pytest.approx(proportion_confint(0, n, method="wilson"), abs=1e-12)
        assert 0 < found.high < 1.1 * proportion_confint(0, n, method="beta")[1]
        assert estimate([1.0] * n).low == pytest.approx(1 - found.high)


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_students_interval_covers_means_of_scores(n: int) -> None:
    """Of symmetric scores and of scores that pile up near 1."""
    draw = np.random.default_rng(n)
    assert 0.93 <= covered([student(row) for row in draw.normal(size=(RUNS, n))], 0) <= 0.97
    assert 0.93 <= covered([student(row) for row in draw.beta(2, 1, (RUNS, n))], 2 / 3) <= 0.97


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_clustered_interval_covers_means(n: int) -> None:
    """Of items in passages of five, half of whose variance is the passage's; the plain interval covers half as many."""
    draw = np.random.default_rng(n)
    passages = np.repeat(np.arange(n // 5), 5)
    scores = draw.normal(size=(RUNS, n)) + draw.normal(size=(RUNS, n // 5))[:, passages]
    names = passages.tolist()
    assert 0.93 <= covered([clustered(row, names) for row in scores], 0) <= 0.97
    assert covered([student(row) for row in scores], 0) < 0.8


def test_clustered_interval_covers_means_of_passages_of_different_sizes() -> None:
    """Of thirty passages of 1 to 9 items."""
    draw = np.random.default_rng(0)
    passages = np.repeat(np.arange(30), draw.integers(1, 10, 30))
    scores = draw.normal(size=(RUNS, len(passages))) + draw.normal(size=(RUNS, 30))[:, passages]
    assert 0.93 <= covered([clustered(row, passages.tolist()) for row in scores], 0) <= 0.97


@pytest.mark.parametrize(("n", "runs", "resamples"), [(20, RUNS, 499), (100, RUNS, 499), (1000, 200, 399)])
def test_bca_interval_covers_means(n: int, runs: int, resamples: int) -> None:
    """At the level that `bootstrap` uses; another test shows that it returns scipy's interval at that level.

    Twenty items from an exponential distribution are covered in 92 to 93 %; at the plain level, even twenty scores that
    pile up near 1 are covered in fewer cases.
    """
    draw = np.random.default_rng(n)

    def coverage(scores: np.ndarray, truth: float, inside: float) -> float:
        ends = stats.bootstrap(
            (scores,), np.mean, axis=-1, vectorized=True, confidence_level=inside, n_resamples=resamples,
            batch=1 + 2000 // n, rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        return float(((ends.low <= truth) & (truth <= ends.high)).mean())

    scores = draw.beta(2, 1, (runs, n))
    assert 0.93 <= coverage(scores, 2 / 3, level(n)) <= 0.97
    if n == 20:
        assert coverage(scores, 2 / 3, 0.95) < coverage(scores, 2 / 3, level(n))
        assert 0.915 < coverage(draw.exponential(size=(runs, n)), 1, level(n)) < 0.95


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_interval_of_matched_rates_covers_differences(n: int) -> None:
    """Planted: A alone is right in 15 % of questions, B alone in 10 %. With few items it is a little too wide."""
    counts = np.random.default_rng(n).multinomial(n, [0.15, 0.10, 0.75], size=RUNS)
    found = [matched_rates(int(wins), int(losses), n) for wins, losses, _ in counts]
    assert 0.93 <= covered(found, 0.05) <= (0.985 if n == 20 else 0.97)


@pytest.mark.parametrize(("n", "least", "most"), [(20, 0.0, 0.03), (100, 0.03, 0.07), (1000, 0.03, 0.07)])
def test_equal_models_are_called_different_in_one_of_twenty_comparisons(n: int, least: float, most: float) -> None:
    """McNemar's mid-p test, for models that disagree on 30 % of questions: 3 to 7 %, but less for twenty questions.

    Only about six of these count, and any test of six coins has few possible levels. The exact conditional test stays
    below the mid-p test everywhere (Fagerland, Lydersen and Laake 2013).
    """
    draw = np.random.default_rng(n)
    a = draw.random((RUNS, n)) < 0.6
    b = np.where(draw.random((RUNS, n)) < 0.625, a, draw.random((RUNS, n)) < 0.6)
    p = np.array([compare_items(x, y).p for x, y in zip(a, b, strict=True)])
    exact = np.array([mcnemar(int((x & ~y).sum()), int((y & ~x).sum()), mid=False) for x, y in zip(a, b, strict=True)])
    assert least <= (p < 0.05).mean() <= most
    assert (exact < 0.05).mean() < (p < 0.05).mean()


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_equal_scores_are_called_different_in_one_of_twenty_comparisons(n: int) -> None:
    """The paired t test, and by passage for items that share one."""
    draw = np.random.default_rng(n)
    passages = np.repeat(np.arange(n // 5), 5)
    hard = draw.random((RUNS, n))
    a, b = (hard + 0.3 * draw.random((RUNS, n)) ** 2 for _ in range(2))
    assert 0.03 <= np.mean([compare_items(x, y).p < 0.05 for x, y in zip(a, b, strict=True)]) <= 0.07
    a += 0.1 * draw.normal(size=(RUNS, n // 5))[:, passages]
    names = passages.tolist()
    assert 0.03 <= np.mean([compare_items(x, y, names).p < 0.05 for x, y in zip(a, b, strict=True)]) <= 0.07
    assert np.mean([compare_items(x, y).p < 0.05 for x, y in zip(a, b, strict=True)]) > 0.07


@pytest.mark.parametrize("n", [20, 100])
def test_bootstrap_test_errs_in_one_of_twenty_comparisons(n: int) -> None:
    """For differences with a long tail and mean 0; of twenty items, 7 to 8 %, fewer than with the t test."""
    draw = np.random.default_rng(n)
    differences = draw.exponential(size=(RUNS, n)) - draw.exponential(size=(RUNS, n)) ** 2 / 2
    rate = np.mean([bootstrap_test(row, draw, resamples=199) < 0.05 for row in differences])
    assert 0.03 <= rate <= (0.085 if n == 20 else 0.07)
    assert rate < np.mean([compare_items(row, np.zeros(n)).p < 0.05 for row in differences])


def test_holm_keeps_the_rate_of_the_family() -> None:
    """Any of eight equal tasks is called different in at most 5 %, beside four that differ, with shared luck too."""
    draw = np.random.default_rng(0)
    for shared in (0.0, 0.8):
        luck = draw.normal(size=(RUNS, 12)) * np.sqrt(1 - shared) + draw.normal(size=(RUNS, 1)) * np.sqrt(shared)
        p = 2 * stats.norm.sf(np.abs(luck + np.repeat([0.0, 3.5], [8, 4])))
        adjusted = np.array([list(holm({str(i): value for i, value in enumerate(row)}).values()) for row in p])
        wrong = (adjusted[:, :8] < 0.05).any(1).mean()
        assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)
        assert (p[:, :8] < 0.05).any(1).mean() > 2 * wrong
        assert (adjusted[:, 8:] < 0.05).mean() > 0.6
