"""Bootstrap intervals and tests agree with scipy and with formulas where there are some."""

import math
import sys

import numpy as np
import pytest
from scipy import stats

from sayso.base.errors import UserError
from sayso.judge.statistics.bootstrap import bootstrap, bootstrap_test, level
from sayso.judge.statistics.clusters import clustered
from sayso.judge.statistics.estimate import student, t_quantile, wilson
from sayso.judge.statistics.significance import compare_items


def seeded(seed: int = 0) -> np.random.Generator:
    """Return a generator."""
    return np.random.default_rng(seed)


def test_interval_equals_scipy_at_the_wider_level() -> None:
    """With the same random numbers, for a mean and for a median."""
    values = seeded(5).exponential(size=31)
    for statistic in (None, np.median):
        found = bootstrap(values, seeded(1), statistic, resamples=500)
        expected = stats.bootstrap(
            (values,), statistic or np.mean, n_resamples=500, confidence_level=level(31), rng=seeded(1)
        )
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval))
        assert found.se == pytest.approx(expected.standard_error * math.sqrt(31 / 30))


def test_level_turns_percentiles_into_students_interval() -> None:
    """The normal quantile of the level times the bootstrap error is the t quantile times the usual error."""
    for n in (5, 20, 1000):
        assert stats.norm.ppf(0.5 + level(n) / 2) * math.sqrt((n - 1) / n) == pytest.approx(t_quantile(n - 1), rel=1e-3)
    assert 0.95 < level(10**6) < 0.95001


def test_interval_of_a_mean_is_close_to_students() -> None:
    """For symmetric data."""
    values = seeded(2).normal(size=200)
    found, expected = bootstrap(values, seeded()), student(values)
    assert (found.mean, found.se) == pytest.approx((expected.mean, expected.se), rel=0.03)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_whole_clusters_are_resampled() -> None:
    """The error is the cluster-robust one, for the mean and for any statistic, here the mean computed by hand."""
    draw = seeded(3)
    clusters = np.repeat(np.arange(60), draw.integers(1, 9, 60))
    values = draw.normal(size=len(clusters)) + draw.normal(size=60)[clusters]
    found, expected = bootstrap(values, seeded(), clusters=clusters.tolist()), clustered(values, clusters.tolist())
    assert found.se == pytest.approx(expected.se, rel=0.05)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)
    by_hand = bootstrap(values, seeded(), lambda rows: rows.mean(), clusters.tolist(), resamples=300)
    fast = bootstrap(values, seeded(), None, clusters.tolist(), resamples=300)
    assert (by_hand.low, by_hand.high, by_hand.se) == pytest.approx((fast.low, fast.high, fast.se))


def test_items_with_columns_stay_together() -> None:
    """The difference of two models' scores on the same items has the paired error."""
    draw = seeded(4)
    hard = draw.random(80)
    pairs = np.column_stack([hard + 0.02 * draw.random(80), hard])
    found = bootstrap(pairs, seeded(), lambda rows: rows[:, 0].mean() - rows[:, 1].mean(), resamples=2000)
    assert found.se == pytest.approx(student(pairs[:, 0] - pairs[:, 1]).se, rel=0.05)


def test_without_variation_no_certainty_is_claimed() -> None:
    """No warning, and no NaN where a range is given: Wilson's interval over items or clusters."""
    assert math.isnan(bootstrap([], seeded()).mean)
    one = bootstrap([0.3], seeded())
    assert one.mean == 0.3
    assert math.isnan(one.low)
    assert math.isnan(bootstrap([0.1] * 10, seeded()).low)
    assert math.isnan(bootstrap([0.1, 0.9], seeded(), clusters=["x", "x"]).low)
    bounded = bootstrap([1.0] * 10, seeded(), low=0, high=1)
    assert (bounded.low, bounded.high) == pytest.approx(wilson(1.0, 10))
    ranged = bootstrap([-1.0] * 10, seeded(), low=-1, high=1)
    assert (ranged.low, ranged.high) == pytest.approx((-1, 2 * wilson(0.0, 10)[1] - 1))


def test_a_statistic_that_no_item_changes_gets_percentiles() -> None:
    """The median of many equal scores and a few others has no leave-one-out variation, which BCa needs."""
    found = bootstrap([0.0] * 9 + [1.0] * 5, seeded(), np.median, resamples=999)
    assert (found.mean, found.low, found.high) == (0, 0, 1)


def test_a_statistic_that_is_undefined_for_some_items_is_refused() -> None:
    """Rather than a NaN in the interval."""
    with pytest.raises(UserError, match="define it there, such as an F1 of 0"):
        bootstrap([0.0, 0.0, 1.0], seeded(), lambda rows: 1 / rows.sum() if rows.any() else math.nan, resamples=99)


def test_test_equals_the_t_test_on_symmetric_data() -> None:
    """For independent items and for clusters; the p value is one of (1 + k) / (1 + resamples)."""
    draw = seeded(6)
    values = draw.normal(0.25, 1, size=120)
    assert bootstrap_test(values, seeded(), resamples=20_000) == pytest.approx(
        stats.ttest_1samp(values, 0).pvalue, abs=0.006
    )
    clusters = np.repeat(np.arange(40), 3)
    shared = values + draw.normal(size=40)[clusters]
    expected = compare_items(shared, np.zeros(120), clusters.tolist()).p
    assert bootstrap_test(shared, seeded(), clusters.tolist(), 20_000) == pytest.approx(expected, abs=0.02)
    assert bootstrap_test(values + 9, seeded(), resamples=99) == 1 / 100


def test_test_without_variation_finds_nothing() -> None:
    """One item, equal differences, one cluster."""
    assert bootstrap_test([0.5], seeded()) == 1
    assert bootstrap_test([0.5] * 9, seeded()) == 1
    assert bootstrap_test([0.5, 0.2], seeded(), ["x", "x"]) == 1


def test_the_same_generator_gives_the_same_interval() -> None:
    """And another one a similar interval."""
    values = seeded(7).random(30)
    assert bootstrap(values, seeded(), resamples=99) == bootstrap(values, seeded(), resamples=99)
    assert bootstrap(values, seeded(1), resamples=99) != bootstrap(values, seeded(), resamples=99)


def test_scipy_is_needed_for_tests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the error names the install command; means with their errors work."""
    for name in ("scipy.stats", "scipy.special"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'sayso\[judge\]'"):
        bootstrap([0.1, 0.2, 0.4], seeded())
    with pytest.raises(UserError, match=r"pip install 'sayso\[judge\]'"):
        compare_items([0.1, 0.2, 0.4], [0.1, 0.3, 0.3])
    assert clustered([0.1, 0.2, 0.4], [1, 2, 3]).low < student(np.array([0.1, 0.2, 0.4])).high


def test_ends_are_clipped_to_the_range_of_the_score() -> None:
    """Also where resampling would go beyond it."""
    data, draw = [0.1, 0.9, 0.4, 0.6, 0.5, 0.2], np.random.default_rng(11)
    free = bootstrap(data, draw)
    found = bootstrap(data, draw, low=free.low + 0.05, high=free.high - 0.05)
    assert (found.low, found.high) == (free.low + 0.05, free.high - 0.05)


def test_two_items_have_an_interval_and_one_has_none() -> None:
    two = bootstrap([0.2, 0.8], np.random.default_rng(12))
    assert two.low < two.mean < two.high
    assert math.isnan(bootstrap([0.2], np.random.default_rng(12)).low)


def test_a_mean_of_zero_is_as_likely_as_can_be() -> None:
    """Resamples with the same mean count as at least as large; two items are enough for a test."""
    draw = np.random.default_rng(13)
    assert bootstrap_test([1.0, -1.0, 1.0, -1.0], draw) == 1.0
    assert bootstrap_test([1.0], draw) == 1.0
    assert bootstrap_test([1.0, 1.2], draw) < 1.0
