"""Estimates equal the textbook: Wilson's interval, Student's t, paired differences, ratios."""

import math

import numpy as np
import pytest

from sayso.judge.stats import Estimate, estimate, mean_of, paired, ratio, t_quantile, wilson


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
        (10**6, 1.959964),
    ],
)
def test_t_quantile_is_the_table(df: int, expected: float) -> None:
    """The two-sided 95 % points of Student's t, as every statistics table prints them."""
    assert t_quantile(df) == pytest.approx(expected, abs=2e-6)


def test_wilson_is_the_published_interval() -> None:
    """81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611 (Newcombe 1998, table I, method 3)."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1.0, 29)[1] == 1.0


def test_estimate_of_answers_is_a_proportion() -> None:
    """Right-or-wrong data gets sqrt(p q / n) and Wilson's ends, which stay inside the scale."""
    found = estimate([1, 1, 1, 0])
    assert (found.mean, found.se, found.n) == (0.75, pytest.approx(math.sqrt(0.75 * 0.25 / 4)), 4)
    assert 0 < found.low < 0.75 < found.high < 1
    assert estimate([1.0] * 5).low > 0.5


def test_estimate_of_measures_is_students() -> None:
    """Darwin's fifteen differences of plant heights: mean 2.617, standard error 1.218, t interval 0.0039 to 5.2294."""
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = estimate([value / 8 for value in eighths])
    assert found.mean == pytest.approx(2.6167, abs=1e-4)
    assert found.se == pytest.approx(1.2182, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((0.0039, 5.2294), abs=1e-4)


def test_estimate_knows_its_scale() -> None:
    """An interval of partial scores does not leave the scale they are given on."""
    assert estimate([1, 1, 0.5], low=0, high=1).high == 1


def test_equal_partial_scores_are_not_certain() -> None:
    """Twenty scores of one half leave room for doubt, though they do not spread."""
    found = estimate([0.5] * 20, low=0, high=1)
    assert found.low < 0.35
    assert found.high > 0.65
    assert found.se > 0.1


def test_pairing_cancels_difficulty() -> None:
    """The same two models differ clearly question by question where their separate intervals overlap."""
    hard = np.linspace(0, 1, 30)
    a, b = hard + 0.05 + 0.01 * np.sin(np.arange(30)), hard
    assert paired(a.tolist(), b.tolist()).low > 0
    assert estimate(a.tolist()).low < estimate(b.tolist()).high


def test_ratio_is_total_over_total() -> None:
    """Long documents weigh as their bytes do; equal sizes give the plain mean and its standard error."""
    assert ratio([10, 0], [9, 1]).mean == 1.0
    same, plain = ratio([2, 4, 9], [2, 2, 2]), estimate([1, 2, 4.5])
    assert (same.mean, same.se, same.low) == pytest.approx((plain.mean, plain.se, plain.low))


def test_intervals_cover() -> None:
    """Of 400 samples from a known world, about 95 % of the intervals hold the truth."""
    draw = np.random.default_rng(0)
    truths = draw.random(400)
    rates = [estimate((draw.random(40) < truth).astype(float).tolist()) for truth in truths]
    assert 0.92 < np.mean([e.low <= truth <= e.high for e, truth in zip(rates, truths, strict=True)]) <= 0.985
    sizes = draw.integers(50, 400, (400, 25))
    amounts = sizes * 2.0 + draw.normal(0, 30, sizes.shape)
    ratios = [ratio(a.tolist(), s.tolist()) for a, s in zip(amounts, sizes, strict=True)]
    assert 0.91 < np.mean([e.low <= 2 <= e.high for e in ratios]) <= 0.985


def test_mean_over_families_weighs_each_family_once() -> None:
    """Two families of unlike size: the plain mean, and independent errors added in squares."""
    a, b = Estimate(0.5, 0.03, 10, 0.4, 0.6), Estimate(0.9, 0.04, 90, 0.8, 1.0)
    both = mean_of([a, b])
    assert (both.mean, both.se, both.n) == pytest.approx((0.7, 0.025, 100))


def test_too_little_data_is_unknown_not_certain() -> None:
    """One measurement has no standard error, none has no mean; JSON gets null and gives NaN back."""
    assert math.isnan(estimate([0.3]).se)
    assert math.isnan(estimate([]).mean)
    assert estimate([0.3]).as_dict()["se"] is None
    assert math.isnan(Estimate.from_dict(estimate([0.3]).as_dict()).high)
