"""Comparisons of two models agree with statsmodels, scipy and published tables, and degenerate ones are defined."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from sayso.base.errors import UserError
from sayso.judge.statistics.clusters import clustered
from sayso.judge.statistics.distributions import mcnemar
from sayso.judge.statistics.estimate import paired, student
from sayso.judge.statistics.significance import compare_items, holm, matched_rates


def answers(wins: int, losses: int, both: int, neither: int) -> tuple[list[int], list[int]]:
    """Return the right-or-wrong answers of two models with these counts."""
    a = [1] * wins + [0] * losses + [1] * both + [0] * neither
    return a, [0] * wins + [1] * losses + [1] * both + [0] * neither


@pytest.mark.parametrize(
    ("wins", "losses", "exact", "mid"),
    [(1, 7, 0.0703, 0.0391), (6, 16, 0.0525, 0.0347), (12, 2, 0.0129, None)],
    ids=["Bentur et al. 2009", "Cavo et al. 2012", "Armitage and Berry 1994"],
)
def test_mcnemar_agrees_with_published_values(wins: int, losses: int, exact: float, mid: float | None) -> None:
    """The first two are examples of Fagerland, Lydersen and Laake (2013)."""
    assert mcnemar(wins, losses, mid=False) == pytest.approx(exact, abs=5e-5)
    assert mid is None or mcnemar(wins, losses) == pytest.approx(mid, abs=5e-5)


@pytest.mark.parametrize(("wins", "losses"), [(0, 1), (3, 3), (0, 9), (40, 61), (700, 590)])
def test_exact_mcnemar_equals_statsmodels(wins: int, losses: int) -> None:
    """The mid-p value is smaller by the probability of the observed table."""
    exact = mcnemar(wins, losses, mid=False)
    assert exact == pytest.approx(reference_mcnemar([[5, wins], [losses, 5]], exact=True).pvalue)
    if wins != losses:
        assert exact - mcnemar(wins, losses) == pytest.approx(stats.binom.pmf(wins, wins + losses, 0.5))


def test_interval_of_matched_rates_agrees_with_a_published_example() -> None:
    """26 wins and 4 losses of 48: 0.2548 to 0.6252 (statpsych, function ci.prop.ps, after Bonett and Price 2012)."""
    found = matched_rates(26, 4, 48)
    assert (found.low, found.high) == pytest.approx((0.2548067, 0.6251933), abs=1e-7)
    assert found.mean == pytest.approx(22 / 48)


def test_right_or_wrong_items_get_mcnemar() -> None:
    """With counts of wins, losses and ties; swapping the models changes the sign alone."""
    a, b = answers(16, 6, 59, 80)
    found, swapped = compare_items(a, b), compare_items(b, a)
    assert (found.n, found.wins, found.losses, found.ties) == (161, 16, 6, 139)
    assert found.p == swapped.p == mcnemar(16, 6)
    assert found.difference.mean == -swapped.difference.mean == pytest.approx(10 / 161)
    assert found.difference.low == pytest.approx(-swapped.difference.high)
    assert found.method == "McNemar, mid-p"


def test_other_scores_get_the_paired_t_test() -> None:
    """Equal to scipy's, with the interval of `paired`."""
    draw = np.random.default_rng(0)
    a, b = draw.random(40), draw.random(40)
    found = compare_items(a, b)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.difference == paired(a, b)
    assert found.method == "paired t"


def test_paired_error_is_that_of_miller() -> None:
    """Var(A - B) = Var(A) + Var(B) - 2 Cov(A, B) (Miller 2024): 0.32 of the unpaired error for a correlation of 0.9."""
    draw = np.random.default_rng(1)
    shared = draw.normal(size=5000)
    a, b = (shared * math.sqrt(0.9) + draw.normal(size=5000) * math.sqrt(0.1) for _ in range(2))
    error, covariance = compare_items(a, b).difference.se, np.cov(a, b)
    assert error**2 == pytest.approx((covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) / 5000)
    assert error / math.hypot(student(a).se, student(b).se) == pytest.approx(math.sqrt(0.1), rel=0.03)


def test_items_of_a_passage_are_compared_by_passage() -> None:
    """Copies of every item change nothing but the number of items; one item per passage is the paired t test."""
    draw = np.random.default_rng(2)
    a, b = draw.random(30), draw.random(30)
    once, copied = compare_items(a, b), compare_items(np.repeat(a, 4), np.repeat(b, 4), np.repeat(np.arange(30), 4))
    assert (copied.p, copied.difference.low) == pytest.approx((once.p, once.difference.low))
    assert copied.difference == clustered(np.repeat(a - b, 4), np.repeat(np.arange(30), 4))
    assert copied.n == 120
    assert compare_items(np.repeat(a, 4), np.repeat(b, 4)).p < once.p  # wrong: as if they were independent
    assert compare_items(a, b, list("abcdefghijklmnopqrstuvwxyz1234")).p == pytest.approx(once.p)


def test_holm_equals_statsmodels() -> None:
    """For ties, ones and zeros as well, in any order."""
    draw = np.random.default_rng(3)
    for count in (1, 2, 7, 20):
        p = np.concatenate([draw.random(count) ** 3, [0.04, 0.04, 1.0, 0.0]])
        draw.shuffle(p)
        found = holm({str(i): float(value) for i, value in enumerate(p)})
        assert list(found) == [str(i) for i in range(len(p))]
        assert list(found.values()) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm({}) == {}


def test_nothing_to_compare_has_a_p_value_of_one() -> None:
    """No items, one score, one passage, all ties."""
    assert compare_items([], []).p == 1
    assert math.isnan(compare_items([], []).difference.mean)
    one = compare_items([0.7], [0.2])
    assert (one.p, one.difference.mean, one.wins) == (1, pytest.approx(0.5), 1)
    assert compare_items([0.1, 0.9], [0.5, 0.4], ["same", "same"]).p == 1
    assert compare_items([1, 0, 1], [1, 0, 1]).p == 1


@pytest.mark.parametrize("score", [0.5, 1.0])
def test_ties_are_not_certainty(score: float) -> None:
    """Twenty ties leave room for a difference of 13 points, two thousand for 0.2; unbounded scores have no limit."""
    few, many = compare_items([score] * 20, [score] * 20), compare_items([score] * 2000, [score] * 2000)
    assert (few.wins, few.losses, few.ties, few.p) == (0, 0, 20, 1)
    assert (few.difference.low, few.difference.high) == pytest.approx((-0.126, 0.126), abs=5e-4)
    assert 0 < many.difference.high < 0.002
    assert math.isnan(compare_items([score + 7] * 20, [score + 7] * 20).difference.low)
    passages = compare_items([score] * 2000, [score] * 2000, np.repeat(np.arange(20), 100))
    assert passages.difference.high == few.difference.high


def test_equal_differences_get_the_sign_test() -> None:
    """Six items that A wins by the same margin: mid-p 2 / 64 - 1 / 64, not 0."""
    found = compare_items([0.7] * 6, [0.6] * 6)
    assert found.p == pytest.approx(1 / 64)
    assert found.method == "sign"
    assert -1 <= found.difference.low < 0.1 < found.difference.high <= 1
    passages = compare_items([0.7] * 6, [0.6] * 6, ["x", "x", "y", "y", "z", "z"])
    assert passages.p == pytest.approx(1 / 8)


def test_mistakes_name_the_value() -> None:
    """Scores of different items, and items without a score."""
    with pytest.raises(UserError, match="one has 2 scores and the other 3"):
        compare_items([1, 0], [1, 0, 1])
    with pytest.raises(UserError, match="the one at index 1 is nan"):
        compare_items([1, 0.5], [1, math.nan])
    with pytest.raises(UserError, match="got 1 clusters for 2 items"):
        compare_items([1, 0.5], [1, 0.2], ["x"])
