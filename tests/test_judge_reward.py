"""Metrics of reward models: accuracies, grouped intervals, calibration, and the length baseline."""

import math
from itertools import combinations

import numpy as np
import pytest

from sayso.batch.judged import Comparison, JudgedPrompt
from sayso.judge.reward import agreement, length_sign, lengths, reward_knowledge
from sayso.judge.statistics.agreement import calibration_error, correlation, of_comparisons, of_ratings, reliability
from sayso.judge.statistics.estimate import estimate

RNG = np.random.default_rng(0)


def test_ungrouped_comparisons_have_the_usual_standard_error() -> None:
    """The jackknife of a mean is the standard error of the mean."""
    differences = RNG.normal(0.3, 1, 200)
    found, usual = of_comparisons(differences, range(200)).estimate(), estimate((differences > 0).astype(float))
    assert found.mean == usual.mean
    assert found.se == pytest.approx(usual.se * math.sqrt(200 / 199))


def test_repeated_items_of_a_group_add_no_certainty() -> None:
    """Repeating every comparison five times gives the same error."""
    differences = RNG.normal(0.3, 1, 100)
    once = of_comparisons(differences, range(100)).estimate()
    often = of_comparisons(np.repeat(differences, 5), np.repeat(np.arange(100), 5)).estimate()
    assert (often.mean, often.se) == (pytest.approx(once.mean), pytest.approx(once.se))


def test_agreement_with_ratings_is_over_all_pairs() -> None:
    """Compared with brute force; leaving out a group equals recomputing without it."""
    ratings, groups = RNG.integers(0, 3, 60).astype(float), list(RNG.integers(0, 9, 60))
    scores = np.round(ratings + RNG.normal(0, 1.5, 60))

    def brute(kept: list[int]) -> float:
        apart = [(i, j) for i, j in combinations(kept, 2) if ratings[i] != ratings[j]]
        right = [np.sign(scores[i] - scores[j]) * np.sign(ratings[i] - ratings[j]) / 2 + 0.5 for i, j in apart]
        return float(np.mean(right))

    found = of_ratings(scores, ratings, groups)
    assert found.value == pytest.approx(brute(list(range(60))))
    for place, group in enumerate(dict.fromkeys(groups)):
        assert found.without[place] == pytest.approx(brute([i for i in range(60) if groups[i] != group]))


def test_a_paired_difference_has_a_smaller_error() -> None:
    """Two judges that mostly agree differ with a smaller error than that of either."""
    differences = RNG.normal(0.3, 1, 300)
    worse = np.where(RNG.random(300) < 0.1, -differences, differences)
    one, other = (of_comparisons(x, range(300)) for x in (differences, worse))
    above = one.above(other)
    assert above.mean == pytest.approx(one.value - other.value)
    assert above.se < one.estimate().se


def test_perfect_accuracy_has_an_interval() -> None:
    """Ten of ten gives Wilson's interval."""
    found = of_comparisons([1.0] * 10, range(10)).estimate()
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.722, abs=1e-3)


def test_calibrated_probabilities_have_no_calibration_error() -> None:
    """The error is the weighted mean difference of predicted and observed."""
    predicted = np.repeat([0.25, 0.75], 100)
    was = np.concatenate(([1.0] * 25 + [0.0] * 75, [1.0] * 75 + [0.0] * 25))
    assert calibration_error(reliability(predicted, was)) == pytest.approx(0.0)
    assert calibration_error(reliability(predicted, 1 - was)) == pytest.approx(0.5)
    assert [(one.said, one.n) for one in reliability([0.05, 1.0], [0.0, 1.0])] == [(0.05, 1), (1.0, 1)]


def test_scores_equal_to_lengths_match_the_length_baseline() -> None:
    """The metrics are the same, and the correlation is 1."""
    judged = [
        JudgedPrompt([1], [[2] * int(a), [3] * int(b)], [Comparison(0, 1)])
        for a, b in RNG.integers(1, 20, (80, 2))
        if a != b
    ]
    sign = length_sign(judged)
    found = reward_knowledge(judged, [sign * own for own in lengths(judged)], range(len(judged)), sign)
    assert found.accuracy == found.length_accuracy
    assert (found.above_length.mean, found.above_length.se) == (0.0, 0.0)
    assert abs(found.length_correlation) == pytest.approx(1.0)
    assert found.accuracy.mean >= 0.5


def test_ties_and_unrated_replies_do_not_count() -> None:
    """Without comparisons that have a better side, ratings are used."""
    tie = JudgedPrompt([1], [[2], [3]], [Comparison(0, 1, tie=True), Comparison(1, 0)])
    assert agreement([tie], [np.array([0.0, 1.0])], [0]).n == 1
    rated = [JudgedPrompt([1], [[2], [3]], ratings=[r, None]) for r in (0.0, 1.0, 1.0)]
    scores = [np.array([s, 9.0]) for s in (0.5, 0.1, 0.9)]
    assert agreement(rated, scores, range(3)).value == 0.5
    assert math.isnan(agreement([], [], []).value)


def test_correlation_with_a_constant_is_nan() -> None:
    """Otherwise it is Pearson's."""
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert math.isnan(correlation([1, 1, 1], [2, 4, 6]))
