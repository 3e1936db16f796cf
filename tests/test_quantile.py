"""Quantiles from counts: those of the values one by one, with an interval that covers the true one."""

import math
from collections import Counter

import numpy as np
import pytest

from sayso.judge.statistics.estimate import binomial_tail
from sayso.judge.statistics.quantile import quantile


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 10, 99, 100, 101, 1000])
def test_it_is_that_of_the_values_one_by_one(share: float, n: int) -> None:
    """As numpy's inverse of the distribution function."""
    values = np.random.default_rng(n).integers(0, 50, n) / 8
    found = quantile(Counter(values.tolist()), share)
    assert found.mean == np.quantile(values, share, method="inverted_cdf")
    assert found.n == n


@pytest.mark.parametrize(("share", "n"), [(0.5, 10), (0.5, 101), (0.9, 60), (0.99, 600)])
def test_the_interval_covers_the_true_quantile(share: float, n: int) -> None:
    """By the binomial distribution: that the values at its ends lie around the quantile of any continuous one."""
    found = quantile(Counter(range(1, n + 1)), share)
    covered = binomial_tail(int(found.low), n, share) - binomial_tail(int(found.high), n, share)
    assert 0.93 < covered < 0.98
    assert found.low <= found.mean <= found.high


@pytest.mark.parametrize(("share", "least"), [(0.5, 4), (0.9, 35), (0.99, 381)])
def test_too_few_values_have_no_interval(share: float, least: int) -> None:
    """Nobody knows how large the next one can be."""
    for n, known in ((least - 1, False), (least, True)):
        found = quantile(Counter(range(n)), share)
        assert math.isfinite(found.low) == math.isfinite(found.high) == known
    assert math.isnan(quantile({}, share).mean)
    assert quantile({}, share).n == 0
