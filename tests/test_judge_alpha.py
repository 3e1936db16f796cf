"""Krippendorff's alpha: equal to the package `krippendorff`, and an interval that covers the true value."""

import math

import numpy as np
import pytest

from sayso.judge.statistics.alpha import alpha

krippendorff = pytest.importorskip("krippendorff", reason="krippendorff is not installed")


def some(seed: int, items: int, people: int, noise: float) -> np.ndarray:
    """Verdicts of -1, 0 or 1 by people, [people, items], of which many are missing (NaN)."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(-1, 2, items)
    given = np.where(generator.random((people, items)) < noise, generator.integers(-1, 2, (people, items)), truth)
    return np.where(generator.random((people, items)) < 0.4, np.nan, given)


def by_item(given: np.ndarray) -> list[list[float]]:
    return [[float(value) for value in column if not np.isnan(value)] for column in given.T]


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("people", [2, 5])
def test_alpha_is_that_of_the_package(noise: float, people: int) -> None:
    """With missing verdicts, and items of one verdict or none, which do not count."""
    given = some(3, 60, people, noise)
    found = alpha(by_item(given), np.random.default_rng(0))
    assert found.mean == pytest.approx(krippendorff.alpha(given, level_of_measurement="interval"), abs=1e-12)
    assert found.n == sum(len(item) > 1 for item in by_item(given))
    assert found.low < found.mean < found.high


def test_the_interval_is_that_of_items_drawn_again() -> None:
    """Equal to the percentiles of the package's alpha on resampled items."""
    given = some(5, 80, 3, 0.4)
    given = given[:, (~np.isnan(given)).sum(0) > 1]
    generator = np.random.default_rng(1)
    draws = [given[:, generator.integers(given.shape[1], size=given.shape[1])] for _ in range(4000)]
    values = [krippendorff.alpha(one, level_of_measurement="interval") for one in draws]
    found = alpha(by_item(given), np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.2 * found.se)
    assert found.se == pytest.approx(np.std(values), rel=0.1)


def test_what_tells_nothing_has_no_alpha() -> None:
    """No item with two verdicts, or only one verdict ever; one item has an alpha without interval."""
    generator = np.random.default_rng(0)
    for verdicts in ([], [[1.0]], [[1.0, 1.0], [1.0, 1.0, 1.0]]):
        found = alpha(verdicts, generator)
        assert math.isnan(found.mean)
        assert math.isnan(found.low)
    one = alpha([[1.0, -1.0]], generator)
    assert one.mean == 0.0  # as much disagreement as by chance
    assert math.isnan(one.low)
    assert alpha([[1.0, 1.0], [-1.0, -1.0]], generator).mean == 1.0
