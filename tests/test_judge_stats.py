"""Estimates agree with textbooks: Wilson's interval, Student's t, paired differences, ratios."""

import math

import numpy as np
import pytest
from scipy.stats import t as scipy_t

from sayso.judge.statistics.estimate import (
    Estimate,
    estimate,
    exact_proportion,
    mean_of,
    of_sums,
    paired,
    proportion,
    ratio,
    sign_test,
    student,
    t_quantile,
    wilson,
    without_spread,
)


@pytest.mark.parametrize(
    ("df", "expected"),
    [
        (1, 12.706205),
        (2, 4.302653),
        (3, 3.182446),
        (4, 2.776445),
        (9, 2.262157),
        (29, 2.045230),
        (100, 1.983972),
        (1000, 1.962339),
        (10**6, 1.959966),
    ],
)
def test_t_quantiles_agree_with_tables(df: int, expected: float) -> None:
    """Two-sided 95 % quantiles of Student's t."""
    assert t_quantile(df) == pytest.approx(expected, abs=2e-6)


def test_wilson_agrees_with_published_intervals() -> None:
    """81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611 (Newcombe 1998, table I, method 3)."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1.0, 29)[1] == 1.0


def test_exact_intervals_agree_with_published_ones() -> None:
    """81 of 263, 15 of 148, 0 of 20, 1 of 29 (Newcombe 1998, table I, method 5)."""
    published = {
        (81, 263): (0.2527, 0.3676),
        (15, 148): (0.0578, 0.1617),
        (0, 20): (0, 0.1684),
        (1, 29): (0.0009, 0.1776),
    }
    for (successes, n), ends in published.items():
        found = exact_proportion(successes, n)
        assert (found.low, found.high) == pytest.approx(ends, abs=5e-5)
        mirrored = exact_proportion(n - successes, n)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(ends, abs=5e-5)
    assert math.isnan(exact_proportion(0, 0).mean)


def test_sign_test_counts_outcomes() -> None:
    """At least 8 or at most 2 of 10: 112 of 1024 outcomes; nothing to test has no evidence."""
    assert sign_test(8, 10) == sign_test(2, 10) == pytest.approx(112 / 1024)
    assert sign_test(5, 10) == 1.0
    assert sign_test(0, 0) == 1.0


def test_binary_scores_get_a_proportion() -> None:
    """The standard error is sqrt(p q / n) and the interval Wilson's, which stays inside the scale."""
    found = estimate([1, 1, 1, 0])
    assert (found.mean, found.se, found.n) == (0.75, pytest.approx(math.sqrt(0.75 * 0.25 / 4)), 4)
    assert 0 < found.low < 0.75 < found.high < 1
    assert estimate([1.0] * 5).low > 0.5


def test_other_scores_get_students_interval() -> None:
    """Darwin's fifteen differences of plant heights: mean 2.617, standard error 1.218, t interval 0.0039 to 5.2294."""
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = estimate([value / 8 for value in eighths])
    assert found.mean == pytest.approx(2.6167, abs=1e-4)
    assert found.se == pytest.approx(1.2182, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((0.0039, 5.2294), abs=1e-4)


def test_intervals_are_clipped_to_the_scale() -> None:
    """For partial scores."""
    assert estimate([1, 1, 0.5], low=0, high=1).high == 1


def test_equal_partial_scores_are_not_certain() -> None:
    """Twenty scores of one half have an interval although their sample variance is zero."""
    found = estimate([0.5] * 20, low=0, high=1)
    assert found.low < 0.35
    assert found.high > 0.65
    assert found.se > 0.1


def test_pairing_cancels_difficulty() -> None:
    """A paired difference is significant although the separate intervals overlap."""
    hard = np.linspace(0, 1, 30)
    a, b = hard + 0.05 + 0.01 * np.sin(np.arange(30)), hard
    assert paired(a.tolist(), b.tolist()).low > 0
    assert estimate(a.tolist()).low < estimate(b.tolist()).high


def test_ratio_is_total_over_total() -> None:
    """Documents are weighted by their bytes; equal sizes give the plain mean and its standard error."""
    assert ratio([10, 0], [9, 1]).mean == 1.0
    same, plain = ratio([2, 4, 9], [2, 2, 2]), estimate([1, 2, 4.5])
    assert (same.mean, same.se, same.low) == pytest.approx((plain.mean, plain.se, plain.low))


def test_intervals_have_the_nominal_coverage() -> None:
    """About 95 % of the intervals of 400 samples contain the true value."""
    draw = np.random.default_rng(0)
    truths = draw.random(400)
    rates = [estimate((draw.random(40) < truth).astype(float).tolist()) for truth in truths]
    assert 0.92 < np.mean([e.low <= truth <= e.high for e, truth in zip(rates, truths, strict=True)]) <= 0.985
    sizes = draw.integers(50, 400, (400, 25))
    amounts = sizes * 2.0 + draw.normal(0, 30, sizes.shape)
    ratios = [ratio(a.tolist(), s.tolist()) for a, s in zip(amounts, sizes, strict=True)]
    assert 0.91 < np.mean([e.low <= 2 <= e.high for e in ratios]) <= 0.985


def test_mean_over_families_weighs_each_family_once() -> None:
    """For families of different sizes; independent errors add in quadrature."""
    a, b = Estimate(0.5, 0.03, 10, 0.4, 0.6), Estimate(0.9, 0.04, 90, 0.8, 1.0)
    both = mean_of([a, b])
    assert (both.mean, both.se, both.n) == pytest.approx((0.7, 0.025, 100))


def test_a_mean_of_rates_that_are_all_zero_is_not_certain() -> None:
    """Its interval is made of Wilson's; of six families with rates up to 2 %, it covers the mean in 88 % or more."""
    whole = mean_of([estimate([0.0] * 10)] * 6)
    assert (whole.mean, whole.low) == (0, 0)
    assert whole.high == pytest.approx(wilson(0, 10)[1] / math.sqrt(6))
    draw, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        rates = draw.uniform(0, 0.02, 6)
        found = mean_of([estimate(draw.random(20) < rate) for rate in rates])
        covered += found.low <= rates.mean() <= found.high
    assert covered >= 880


def test_too_little_data_gives_nan() -> None:
    """One item has no standard error, none has no mean; JSON has null for NaN."""
    assert math.isnan(estimate([0.3]).se)
    assert math.isnan(estimate([]).mean)
    assert estimate([0.3]).as_dict()["se"] is None
    assert math.isnan(Estimate.from_dict(estimate([0.3]).as_dict()).high)


def test_sums_give_the_estimate_of_their_values() -> None:
    """As if the values were there: mean, error and interval; equal values and a single one claim nothing more."""
    values = np.random.default_rng(0).gamma(2, 3, 57)
    found = of_sums(57, float(values.sum()), float((values**2).sum()), 0.0)
    wanted = student(values, 0.0)
    assert [found.mean, found.se, found.low, found.high] == pytest.approx(
        [wanted.mean, wanted.se, wanted.low, wanted.high]
    )
    assert of_sums(20, 0.0, 0.0, 0.0, 1.0) == without_spread(0.0, 20, 20, 0.0, 1.0)
    assert math.isnan(of_sums(20, 40.0, 80.0).low)
    assert math.isnan(of_sums(1, 3.0, 9.0).low)
    assert math.isnan(of_sums(0, 0.0, 0.0).mean)


def test_a_proportion_is_the_estimate_of_its_items() -> None:
    assert proportion(3, 10) == estimate([1.0] * 3 + [0.0] * 7)
    assert math.isnan(proportion(0, 0).low)


@pytest.mark.parametrize("df", [1, 2, 7, 30, 99, 100, 101, 500, 9_999, 10_000, 1_000_000])
def test_quantiles_of_t_are_scipys(df: int) -> None:
    """By bisection and by the expansion."""
    assert t_quantile(df) == pytest.approx(scipy_t.ppf(0.975, df), abs=1e-9)
