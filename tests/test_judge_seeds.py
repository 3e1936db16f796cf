"""Summaries over seeds agree with a published meta-analysis, with statsmodels, and with planted truths."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from sayso.base.errors import UserError
from sayso.judge.statistics.seeds import compare_crossed, compare_recipes, crossed, over_seeds

BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
])  # fmt: skip
"""Thirteen trials of a vaccine (Colditz et al. 1994): ill and well among the vaccinated, ill and well among others."""


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of the risk ratios of the trials, and their standard errors."""
    ill, well, ill_others, well_others = BCG.T
    treated, others = ill + well, ill_others + well_others
    return np.log(ill / treated * others / ill_others), np.sqrt(1 / ill - 1 / treated + 1 / ill_others - 1 / others)


def test_summary_agrees_with_a_published_example() -> None:
    """Mean -0.7141 and variance 0.3088 (Viechtbauer 2010, J. Stat. Softw. 36(3), by the method of moments)."""
    effects, errors = log_risk_ratios()
    found = over_seeds(effects, errors)
    assert found.mean.mean == pytest.approx(-0.7141, abs=5e-5)
    assert found.between**2 == pytest.approx(0.3088, abs=5e-5)


def test_summary_equals_statsmodels() -> None:
    """The mean, the variance between seeds, and the error of Hartung and Knapp where its factor is above 1."""
    draw = np.random.default_rng(0)
    compared = 0
    for _ in range(40):
        errors = draw.uniform(0.5, 1.5, 8)
        scores = draw.normal(0, 1, 8) + errors * draw.normal(size=8)
        found = over_seeds(scores, errors)
        if not found.between:
            continue
        expected = combine_effects(scores, errors**2, method_re="dl")
        assert found.between**2 == pytest.approx(expected.tau2)
        assert found.mean.mean == pytest.approx(expected.mean_effect_re)
        assert found.mean.se == pytest.approx(expected.sd_eff_w_re * math.sqrt(max(1, expected.scale_hksj_re)))
        compared += expected.scale_hksj_re > 1
    assert compared > 5


def test_seeds_without_errors_are_a_plain_sample() -> None:
    """Student's interval for the mean, and its prediction interval, wider by sqrt(S + 1), for a new seed."""
    scores = [0.231, 0.242, 0.239, 0.228, 0.249]
    found = over_seeds(scores)
    deviation, limit = np.std(scores, ddof=1), stats.t.ppf(0.975, 4)
    assert found.between == pytest.approx(deviation)
    assert found.mean.high - found.mean.mean == pytest.approx(limit * deviation / math.sqrt(5))
    assert found.new_high - found.mean.mean == pytest.approx(limit * deviation * math.sqrt(1 + 1 / 5))
    assert found.new_low + found.new_high == pytest.approx(2 * found.mean.mean)


def test_measurement_error_is_not_counted_as_luck_of_the_seed() -> None:
    """Scores that vary less than their errors have no variation between seeds, but still the errors' interval."""
    found = over_seeds([0.50, 0.51, 0.49], [0.05, 0.05, 0.05])
    assert found.between == 0
    assert found.mean.se == pytest.approx(0.05 / math.sqrt(3))


def test_crossed_scores_follow_the_analysis_of_variance() -> None:
    """The variance between seeds is (MS_seeds - MS_residual) / n, by mean squares computed term by term."""
    scores = np.random.default_rng(1).random((4, 30)) + np.array([[0.0], [0.2], [0.4], [0.1]])
    grand, rows, columns = scores.mean(), scores.mean(1), scores.mean(0)
    of_seeds = 30 * sum((row - grand) ** 2 for row in rows) / 3
    of_rest = sum((scores[i, j] - rows[i] - columns[j] + grand) ** 2 for i in range(4) for j in range(30)) / (3 * 29)
    found = crossed(scores)
    assert found.between**2 == pytest.approx((of_seeds - of_rest) / 30)
    assert found.within**2 == pytest.approx(of_rest / 30)
    assert found.mean.se == pytest.approx(rows.std(ddof=1) / 2)


def test_difficulty_of_items_is_not_counted_as_error_of_seeds() -> None:
    """`crossed` finds a planted variance between seeds; errors that count the items' difficulty hide it."""
    draw = np.random.default_rng(2)
    planted, found, hidden = 0.03, [], []
    for _ in range(300):
        scores = draw.normal(0, planted, (6, 1)) + draw.normal(0, 1, (1, 50)) + draw.normal(0, 0.1, (6, 50))
        found.append(crossed(scores).between ** 2)
        hidden.append(over_seeds(scores.mean(1), scores.std(1, ddof=1) / math.sqrt(50)).between ** 2)
    assert math.sqrt(np.mean(found)) == pytest.approx(planted, rel=0.05)
    assert np.mean(hidden) < 0.1 * planted**2


def test_luck_with_a_passage_is_not_counted_as_luck_of_the_seed() -> None:
    """Seeds that are lucky with whole passages: a planted variance between seeds is found with clusters only."""
    draw, passages = np.random.default_rng(10), np.repeat(np.arange(15), 4)
    planted, found, plain = 0.05, [], []
    for _ in range(300):
        luck = draw.normal(0, 0.3, (6, 15))[:, passages]  # 0.3^2 / 15 = 0.006 of the variance of a mean
        scores = draw.normal(0, planted, (6, 1)) + draw.normal(0, 1, 60) + luck + draw.normal(0, 0.1, (6, 60))
        found.append(crossed(scores, list(passages)))
        plain.append(crossed(scores))
    assert np.mean([one.between**2 for one in plain]) > 2 * planted**2
    assert np.mean([one.between**2 for one in found]) < 1.5 * planted**2  # those below 0 count as 0
    assert np.mean([one.within**2 for one in found]) == pytest.approx(0.3**2 / 15 + 0.1**2 / 60, rel=0.05)


def test_items_asked_three_times_count_once() -> None:
    """As one passage each, copies add nothing; without passages, they would make the error smaller."""
    scores = np.random.default_rng(11).random((4, 20))
    once, thrice = crossed(scores), np.tile(scores, 3)
    copies = crossed(thrice, [number % 20 for number in range(60)])
    assert (copies.within, copies.between) == pytest.approx((once.within, once.between))
    assert (copies.mean.low, copies.new_high) == pytest.approx((once.mean.low, once.new_high))
    assert crossed(thrice).within < 0.8 * once.within


def test_intervals_cover_planted_truths() -> None:
    """93 to 97 % of 2,000 recipes' means and of their new seeds, from 5 or 20 seeds that vary more than their errors.

    Of seeds that vary as little as their errors, the mean is covered as often or more, but a new seed only in 87 to
    93 % of cases: `between` is then often estimated as 0 (Partlett and Riley 2017 find the same).
    """
    draw = np.random.default_rng(3)
    for seeds, between, least, most in (
        (5, 0.1, 0.93, 0.97),
        (20, 0.1, 0.93, 0.97),
        (5, 0.02, 0.87, 0.93),
        (20, 0.02, 0.87, 0.93),
    ):
        mean_inside = new_inside = 0
        for _ in range(2000):
            errors = draw.uniform(0.01, 0.03, seeds)
            scores = 0.5 + between * draw.normal(size=seeds) + errors * draw.normal(size=seeds)
            found = over_seeds(scores, errors)
            mean_inside += found.mean.low <= 0.5 <= found.mean.high
            new_inside += found.new_low <= 0.5 + between * draw.normal() <= found.new_high
        assert 0.93 <= mean_inside / 2000 <= (0.97 if between > 0.03 else 1), (seeds, between)
        assert least <= new_inside / 2000 <= most, (seeds, between)


def test_recipes_are_compared_by_welch() -> None:
    """Equal to scipy's test without errors, and with equal errors below the variation of the scores."""
    draw = np.random.default_rng(4)
    a, b = draw.normal(0.5, 0.02, 4), draw.normal(0.53, 0.05, 7)
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval()
    for errors in (0.0, 0.001):
        found = compare_recipes(over_seeds(a, [errors] * 4), over_seeds(b, [errors] * 7))
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.difference.n == 4


def test_equal_recipes_are_called_different_as_often_as_promised() -> None:
    """3 to 7 % of 2,000 pairs of recipes."""
    draw = np.random.default_rng(5)
    a, b = draw.normal(0, 1, (2000, 5)), draw.normal(0, 2, (2000, 8))
    rejected = [compare_recipes(over_seeds(x), over_seeds(y)).p < 0.05 for x, y in zip(a, b, strict=True)]
    assert 0.03 <= np.mean(rejected) <= 0.07


def test_too_few_seeds_are_defined() -> None:
    """None, one, and equal scores without errors: nothing is known about new seeds."""
    assert math.isnan(over_seeds([]).mean.mean)
    one = over_seeds([0.4], [0.01])
    assert (one.mean.mean, one.mean.n) == (0.4, 1)
    assert math.isnan(one.between)
    equal = over_seeds([0.4, 0.4])
    assert math.isnan(equal.new_low)
    assert compare_recipes(one, over_seeds([0.1, 0.2])).p == 1
    assert compare_recipes(equal, equal).p == 1


def test_mistakes_name_the_value() -> None:
    """Errors of other seeds, negative errors, and scores without seeds."""
    with pytest.raises(UserError, match=r"Each of the 2 seeds .* got \[0\.1\]"):
        over_seeds([0.1, 0.2], [0.1])
    with pytest.raises(UserError, match=r"at least 0; got \[0\.1, -0\.1\]"):
        over_seeds([0.1, 0.2], [0.1, -0.1])
    with pytest.raises(UserError, match=r"at least 2 of each; got \(3,\)"):
        crossed([0.1, 0.2, 0.3])


def crossed_scores(draw: np.random.Generator, seeds: int, items: np.ndarray, between: float, own: float) -> np.ndarray:
    """Return scores [seeds, n] of a recipe: items' difficulty, luck of each seed, what suits the recipe, and noise."""
    n = len(items)
    return items + between * draw.normal(size=(seeds, 1)) + own * draw.normal(size=n) + draw.normal(0, 0.3, (seeds, n))


@pytest.mark.parametrize(
    ("seeds", "n", "between", "own"), [((3, 3), 200, 0.02, 0.0), ((5, 4), 100, 0.02, 0.3), ((3, 5), 200, 0.0, 0.3)]
)
def test_equal_recipes_with_luck_of_seeds_and_items_are_called_equal(
    seeds: tuple[int, int], n: int, between: float, own: float
) -> None:
    """Called different in 3 to 7 % of 1,000 pairs; intervals of a planted difference cover it in 93 to 97 %."""
    draw, called, covered = np.random.default_rng(6), 0, 0
    for _ in range(1000):
        hard = draw.normal(0.5, 0.4, n)
        a, b = (crossed_scores(draw, count, hard, between, own) for count in seeds)
        found = compare_crossed(a + 0.1, b)
        covered += found.difference.low <= 0.1 <= found.difference.high
        called += compare_crossed(a, b).p < 0.05
    assert 0.03 <= called / 1000 <= 0.07
    assert 0.93 <= covered / 1000 <= 0.97


def test_without_luck_of_items_recipes_are_compared_by_welch() -> None:
    """The same items suit both: the error is that of the seeds' means alone, and scipy agrees."""
    draw = np.random.default_rng(7)
    hard, level_a, level_b = draw.random(50), np.array([[0.1], [0.12], [0.17]]), np.array([[0.0], [0.05]])
    found = compare_crossed(hard + level_a, hard + level_b)
    expected = stats.ttest_ind(level_a.ravel(), level_b.ravel(), equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.difference.low == pytest.approx(expected.confidence_interval().low)
    assert found.of_items == pytest.approx(0, abs=1e-9)
    assert found.difference.n == 50


def test_items_that_suit_a_recipe_add_to_the_error() -> None:
    """Two-way clustering by hand; items of a passage together."""
    draw = np.random.default_rng(8)
    a, b = draw.random((3, 40)), draw.random((4, 40))
    found = compare_crossed(a, b)
    apart = a.mean(0) - b.mean(0)

    def residual(table: np.ndarray) -> float:
        rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
        return (rest**2).sum() / ((len(table) - 1) * 39) / 40 / len(table)

    items = max(0, apart.var(ddof=1) / 40 - residual(a) - residual(b))
    seeds = a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 4
    assert found.difference.se == pytest.approx(math.sqrt(seeds + items))
    assert (found.of_seeds, found.of_items) == pytest.approx((math.sqrt(seeds), math.sqrt(items)))
    shift = np.repeat(draw.normal(size=10), 4)
    passages = [number // 4 for number in range(40)]
    assert compare_crossed(a + shift, b, passages).of_items > 1.5 * compare_crossed(a + shift, b).of_items


def test_equal_recipes_on_passages_are_called_equal() -> None:
    """Seeds lucky with whole passages: different in 3 to 7 % of 1,000 pairs, and `of_items` is near the planted 0."""
    draw, passages = np.random.default_rng(12), np.repeat(np.arange(40), 5)
    called, items = 0, []
    for _ in range(1000):
        hard = draw.normal(0.5, 0.4, 200)
        a, b = (hard + draw.normal(0, 0.05, (4, 1)) + draw.normal(0, 0.2, (4, 40))[:, passages] for _ in range(2))
        found = compare_crossed(a, b, list(passages))
        called += found.p < 0.05
        items.append(found.of_items**2)
    assert 0.03 <= called / 1000 <= 0.07
    assert np.mean(items) < 0.25 * (0.2**2 / 40 / 4 * 2)


def test_mistakes_of_crossed_recipes_are_named() -> None:
    """Other items, one seed, one passage; and equal scores, of which nothing is known."""
    two = [[0.0, 1.0], [1.0, 1.0]]
    with pytest.raises(UserError, match="one has 2 scores a seed and the other 3"):
        compare_crossed(two, [[0, 1, 1], [1, 1, 0]])
    with pytest.raises(UserError, match="at least 2 of each"):
        compare_crossed([[0.0, 1.0]], two)
    with pytest.raises(UserError, match="two or more passages"):
        compare_crossed(two, two, ["p", "p"])
    same = compare_crossed([[1.0, 1.0]] * 2, [[0.0, 0.0]] * 2)
    assert math.isnan(same.difference.low)
    assert (same.p, same.difference.mean) == (1, 1)


def test_seeds_that_agree_leave_the_paired_t_test_of_items() -> None:
    """Without luck of seeds, the error is that of the items, with one degree of freedom less than items."""
    a, b = np.random.default_rng(9).random((2, 7))
    found, expected = compare_crossed([a, a], [b, b, b]), stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.difference.high == pytest.approx(expected.confidence_interval().high)


def test_a_seed_measured_without_error_is_no_exception() -> None:
    """The variance between seeds is what their scores vary by beyond the mean of the variances of measurement."""
    found = over_seeds([0.4, 0.6, 0.5], [0.0, 0.1, 0.1])
    assert found.between**2 == pytest.approx(0.01 - 0.02 / 3)
