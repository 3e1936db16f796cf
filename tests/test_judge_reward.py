"""What scores tell of judged replies: shares, intervals by groups, calibration, and length beside them."""

import math
from itertools import combinations

import numpy as np
import pytest

from sayso.batch.judged import Comparison, JudgedPrompt
from sayso.judge.agreement import calibration_error, correlation, of_comparisons, of_ratings, reliability
from sayso.judge.reward import agreement, length_sign, lengths, reward_knowledge
from sayso.judge.stats import estimate

RNG = np.random.default_rng(0)


def test_alone_in_their_groups_comparisons_have_the_usual_error() -> None:
    """The jackknife of a mean is the standard error of a mean."""
    differences = RNG.normal(0.3, 1, 200)
    found, usual = of_comparisons(differences, range(200)).estimate(), estimate((differences > 0).astype(float))
    assert found.mean == usual.mean
    assert found.se == pytest.approx(usual.se * math.sqrt(200 / 199))


def test_items_of_one_group_are_one_witness() -> None:
    """Every comparison said five times over is no more certain than once."""
    differences = RNG.normal(0.3, 1, 100)
    once = of_comparisons(differences, range(100)).estimate()
    often = of_comparisons(np.repeat(differences, 5), np.repeat(np.arange(100), 5)).estimate()
    assert (often.mean, often.se) == (pytest.approx(once.mean), pytest.approx(once.se))


def test_ratings_are_judged_by_every_two_that_differ() -> None:
    """The share by brute force, equal scores half; without a group, the same as if it were not there."""
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


def test_one_judge_above_another_is_known_better_than_each_alone() -> None:
    """Two judges that mostly agree differ with a smaller error than that of either."""
    differences = RNG.normal(0.3, 1, 300)
    worse = np.where(RNG.random(300) < 0.1, -differences, differences)
    one, other = (of_comparisons(x, range(300)) for x in (differences, worse))
    above = one.above(other)
    assert above.mean == pytest.approx(one.value - other.value)
    assert above.se < one.estimate().se


def test_where_all_is_right_the_interval_still_has_a_width() -> None:
    """No spread is no certainty: ten of ten are Wilson's interval."""
    found = of_comparisons([1.0] * 10, range(10)).estimate()
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.722, abs=1e-3)


def test_probabilities_that_hold_have_no_calibration_error() -> None:
    """The error is by how much said and true differ, weighed by how often it was said."""
    said = np.repeat([0.25, 0.75], 100)
    was = np.concatenate(([1.0] * 25 + [0.0] * 75, [1.0] * 75 + [0.0] * 25))
    assert calibration_error(reliability(said, was)) == pytest.approx(0.0)
    assert calibration_error(reliability(said, 1 - was)) == pytest.approx(0.5)
    assert [(one.said, one.n) for one in reliability([0.05, 1.0], [0.0, 1.0])] == [(0.05, 1), (1.0, 1)]


def test_a_scorer_of_lengths_is_no_better_than_length() -> None:
    """Scores that are the lengths give the very figures of length alone; correlation is 1."""
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
    """Only comparisons with a better side are right or wrong; where there are none, the ratings speak."""
    tie = JudgedPrompt([1], [[2], [3]], [Comparison(0, 1, tie=True), Comparison(1, 0)])
    assert agreement([tie], [np.array([0.0, 1.0])], [0]).n == 1
    rated = [JudgedPrompt([1], [[2], [3]], ratings=[r, None]) for r in (0.0, 1.0, 1.0)]
    scores = [np.array([s, 9.0]) for s in (0.5, 0.1, 0.9)]
    assert agreement(rated, scores, range(3)).value == 0.5
    assert math.isnan(agreement([], [], []).value)


def test_correlation_is_unknown_where_nothing_varies() -> None:
    """Pearson's, or no number."""
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert math.isnan(correlation([1, 1, 1], [2, 4, 6]))
