"""Calibration, ranking and selective answering against brute force, simulation and scikit-learn's definitions."""

import itertools
import math

import numpy as np
import pytest

from sayso.judge.statistics.agreement import Bin, calibration_error
from sayso.judge.statistics.estimate import wilson
from sayso.judge.statistics.forecast import (
    aurc,
    auroc,
    brier,
    equal_mass,
    risk_coverage,
    rms_error,
    squared_error,
    sweep_bins,
)


def drawn(seed: int, n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A forecaster that says its true probability, plus `shift`."""
    generator = np.random.default_rng(seed)
    truth = generator.choice([0.15, 0.3, 0.5, 0.7, 0.85], n)
    return truth + shift, (generator.random(n) < truth).astype(float)


def test_the_debiased_error_of_a_calibrated_forecast_is_zero_on_average_and_the_plain_one_is_not() -> None:
    bins = [equal_mass(*drawn(seed, 100), 5) for seed in range(600)]
    values = np.array([squared_error(one) for one in bins])
    plain = np.array([squared_error(one, debiased=False) for one in bins])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(600)
    assert plain.mean() > 20 * plain.std() / math.sqrt(600)
    assert np.mean([calibration_error(one) for one in bins]) > 0.04


def test_the_debiased_error_finds_a_forecast_that_says_a_tenth_too_much() -> None:
    values = [squared_error(equal_mass(*drawn(seed, 200, 0.1), 5)) for seed in range(400)]
    assert np.mean(values) == pytest.approx(0.01, abs=0.0008)
    assert rms_error(equal_mass(*drawn(0, 20_000, 0.1), 5)) == pytest.approx(0.1, abs=0.01)


def test_the_root_of_a_negative_value_is_zero_and_bins_of_one_do_not_count() -> None:
    assert squared_error([Bin(0.5, 0.5, 11)]) == pytest.approx(-0.025)
    assert rms_error([Bin(0.5, 0.5, 11)]) == 0
    assert squared_error([Bin(0.5, 0.25, 4), Bin(1.0, 0.0, 1)]) == pytest.approx(0.0625 - 0.1875 / 3)
    assert math.isnan(squared_error([Bin(1.0, 0.0, 1)]))
    assert math.isnan(rms_error([]))


def test_bins_hold_equal_numbers_and_equal_confidences_share_one() -> None:
    said = np.linspace(0, 1, 40)
    assert [one.n for one in equal_mass(said, np.ones(40), 10)] == [4] * 10
    order = np.random.default_rng(0).permutation(40)
    assert equal_mass(said[order], np.ones(40)[order], 10) == equal_mass(said, np.ones(40), 10)
    tied = equal_mass([0.2] * 30 + [0.9] * 10, [0.0, 1.0] * 20, 10)
    assert [(one.said, one.was, one.n) for one in tied] == [
        (pytest.approx(0.2), 0.5, 30),
        (pytest.approx(0.9), 0.5, 10),
    ]
    assert equal_mass([], []) == []


def test_the_sweep_takes_as_many_bins_as_stay_in_order() -> None:
    said, right = np.linspace(0.1, 0.9, 8), np.array([0, 0, 0, 0, 1, 1, 1, 1.0])
    assert len(sweep_bins(said, right)) == 8
    assert len(sweep_bins(said, 1 - right)) == 1
    for seed in range(20):
        found = [one.was for one in sweep_bins(*drawn(seed, 60))]
        assert found == sorted(found)
    swept = np.mean([calibration_error(sweep_bins(*drawn(seed, 100))) for seed in range(200)])
    assert swept < np.mean([calibration_error(equal_mass(*drawn(seed, 100), 15)) for seed in range(200)])


def loop(said: list[float], right: list[float]) -> float:
    """AURC as it is defined: the mean of the error among the i surest, over i."""
    order = sorted(range(len(said)), key=lambda i: -said[i])
    wrong, risks = 0.0, []
    for place, i in enumerate(order, 1):
        wrong += 1 - right[i]
        risks.append(wrong / place)
    return sum(risks) / len(risks)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_the_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    said, right = generator.random(37).tolist(), (generator.random(37) < 0.6).astype(float).tolist()
    assert risk_coverage(said, right).area == pytest.approx(loop(said, right))
    found = aurc(said, right)
    assert found.mean == pytest.approx(loop(said, right))
    assert found.low < found.mean < found.high


def test_equal_confidences_count_as_the_mean_over_their_orders() -> None:
    said, right = [0.9, 0.5, 0.5, 0.5, 0.1], [1.0, 0.0, 1.0, 1.0, 0.0]
    areas = [loop([0.9, 0.53, 0.52, 0.51, 0.1], [1.0, *middle, 0.0]) for middle in itertools.permutations(right[1:4])]
    assert risk_coverage(said, right).area == pytest.approx(sum(areas) / len(areas))
    curve = risk_coverage(said, right)
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.risk[-1] == pytest.approx(0.4)


def test_ranking_is_the_area_under_the_roc_curve_of_scipy() -> None:
    from scipy.stats import mannwhitneyu

    generator = np.random.default_rng(3)
    said, right = generator.integers(0, 6, 80) / 5, (generator.random(80) < 0.4).astype(float)
    u = mannwhitneyu(said[right == 1], said[right == 0]).statistic
    found = auroc(said, right)
    assert found.mean == pytest.approx(u / (right.sum() * (80 - right.sum())))
    assert found.low < found.mean < found.high
    assert math.isnan(auroc([0.1, 0.9], [1.0, 1.0]).mean)


def test_the_interval_of_a_ranking_is_that_of_the_rarer_kind() -> None:
    """Without the only wrong answer nothing is left to rank, so there is no interval; three ranked well tell little."""
    said = np.linspace(0.1, 0.9, 30)
    assert math.isnan(auroc(said, np.arange(30) != 4).low)
    assert auroc(said, np.arange(30) != 4).mean == pytest.approx(25 / 29)
    perfect = auroc(said, np.arange(30) >= 3)
    assert (perfect.mean, perfect.low, perfect.high) == (1, pytest.approx(wilson(1, 3)[0]), 1)
    assert math.isnan(auroc([], []).mean)


def test_brier_is_the_mean_square() -> None:
    found = brier([0.8, 0.4], [1.0, 1.0])
    assert found.mean == pytest.approx((0.04 + 0.36) / 2)
    assert 0 <= found.low < found.high <= 1
