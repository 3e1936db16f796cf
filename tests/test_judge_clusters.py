"""Cluster-robust errors agree with statsmodels."""

import math

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from sayso.judge.statistics.clusters import clustered
from sayso.judge.statistics.estimate import student, wilson


@pytest.mark.parametrize("groups", [3, 12, 60])
def test_error_equals_that_of_a_regression_on_a_constant(groups: int) -> None:
    """OLS with cov_type "cluster" and t with G - 1 degrees of freedom, for clusters of different sizes."""
    draw = np.random.default_rng(groups)
    clusters = np.concatenate([np.arange(groups), draw.integers(groups, size=groups * 4)])
    values = draw.normal(size=len(clusters)) + draw.normal(size=groups)[clusters]
    fit = OLS(values, np.ones_like(values)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    found = clustered(values, clusters.tolist())
    assert (found.mean, found.se) == pytest.approx((fit.params[0], fit.bse[0]))
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]))
    assert found.n == len(values)


def test_one_item_per_cluster_is_the_plain_error() -> None:
    """Whatever the clusters' names."""
    values = [0.1, 0.9, 0.4, 0.4, 0.2]
    found, plain = clustered(values, ["a", "b", 3, None, 4.5]), student(np.array(values))
    assert (found.mean, found.se, found.low, found.high) == pytest.approx((plain.mean, plain.se, plain.low, plain.high))


def test_equal_answers_to_a_passage_count_once() -> None:
    """Nine questions with the same score per passage: the error is that of the passages, three times the plain one."""
    passages = np.random.default_rng(0).random(50)
    copied = np.repeat(passages, 9)
    found = clustered(copied, np.repeat(np.arange(50), 9))
    assert found.se == pytest.approx(student(passages).se)
    assert found.se / student(copied).se == pytest.approx(3, rel=0.02)


def test_too_little_data_is_defined() -> None:
    """No items, one cluster, and equal scores, whose interval is Wilson's over the clusters."""
    assert math.isnan(clustered([], []).mean)
    alone = clustered([0.2, 0.6], ["x", "x"])
    assert alone.mean == 0.4
    assert math.isnan(alone.se)
    equal = clustered([1.0] * 12, ["x", "y", "z"] * 4, low=0, high=1)
    assert (equal.low, equal.high) == pytest.approx(wilson(1.0, 3))
    assert math.isnan(clustered([0.1] * 12, ["x", "y", "z"] * 4).low)


def test_intervals_are_clipped_to_the_scale() -> None:
    """For rates near 1."""
    values, clusters = [1.0, 1.0, 1.0, 1.0, 0.9, 0.8], ["a", "a", "b", "b", "c", "c"]
    assert clustered(values, clusters).high > 1
    assert clustered(values, clusters, low=0, high=1).high == 1
