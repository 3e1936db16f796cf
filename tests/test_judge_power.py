"""Power and sample sizes agree with statsmodels and with published formulas."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower

from sayso.base.errors import UserError
from sayso.judge.statistics.distributions import mcnemar
from sayso.judge.statistics.power import (
    Goal,
    needed_items,
    needed_questions,
    power_of,
    smallest_difference,
    smallest_rate_difference,
    spread_of_samples,
)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "effect"), [(3, 0.9), (20, 0.5), (100, 0.2), (5000, 0.05), (20_000, 0.01)])
def test_power_equals_statsmodels(n: int, effect: float, paired: bool) -> None:
    """Of a t test, paired or with as many items for each model."""
    reference = TTestPower() if paired else TTestIndPower()
    for alpha in (0.05, 0.01):
        expected = reference.power(effect, n, alpha)
        assert power_of(effect * 0.4, 0.4, n, alpha, paired) == pytest.approx(expected, abs=1e-4)
        assert power_of(9.0, 0.4, n, alpha, paired) <= 1
        assert power_of(-effect * 0.4, 0.4, n, alpha, paired) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("n", [5, 50, 1172])
def test_smallest_difference_equals_statsmodels(n: int, paired: bool) -> None:
    """And needs as many items as it was computed for."""
    goal = Goal(alpha=0.05, power=0.9)
    found = smallest_difference(0.3, n, goal, paired)
    if paired:
        expected = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.9)
    else:
        expected = TTestIndPower().solve_power(nobs1=n, alpha=0.05, power=0.9)
    assert found / 0.3 == pytest.approx(expected, rel=1e-4)
    assert needed_items(found * 1.0001, 0.3, goal, paired) == n
    assert needed_items(found * 0.9999, 0.3, goal, paired) == n + 1


def test_items_follow_millers_formula() -> None:
    """(z_alpha/2 + z_power)^2 (omega^2 + var_A / K_A + var_B / K_B) / difference^2, and two more for t quantiles."""
    spread = spread_of_samples(1 / 9, 1 / 6, 1 / 6, samples_a=10, samples_b=5)
    assert spread**2 == pytest.approx(1 / 9 + 1 / 60 + 1 / 30)
    by_formula = (1.959964 + 0.841621) ** 2 * spread**2 / 0.03**2
    assert by_formula < needed_items(0.03, spread) <= by_formula + 3
    assert needed_items(0.03, spread_of_samples(1 / 9, 1 / 6, 1 / 6)) > 2 * needed_items(0.03, spread)


def test_pairing_saves_items() -> None:
    """With a correlation of 0.5 between models, half as many as items of their own; without it, as many."""
    assert needed_items(0.02, 0.4) == pytest.approx(needed_items(0.02, 0.4, paired=False) / 2, rel=0.001)
    assert needed_items(0.02, 0.4 * math.sqrt(2)) == pytest.approx(needed_items(0.02, 0.4, paired=False), rel=0.001)


def test_questions_agree_with_a_published_example() -> None:
    """Rates of 0.45 and 0.05 of disagreement either way need 23 pairs (HyLown's calculator, after Connor 1987)."""
    assert needed_questions(0.4, 0.5) == 23


def test_questions_give_the_promised_power() -> None:
    """Simulated with McNemar's mid-p test: 80 % of evaluations see the difference, within 3 %."""
    n = needed_questions(0.05, 0.2)
    draw = np.random.default_rng(0)
    counts = draw.multinomial(n, [0.125, 0.075, 0.8], size=2000)
    p = {pair: mcnemar(*pair) for pair in {(int(wins), int(losses)) for wins, losses, _ in counts}}
    assert np.mean([p[int(wins), int(losses)] < 0.05 for wins, losses, _ in counts]) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("disagree", [0.05, 0.3, 1.0])
def test_smallest_difference_of_rates_inverts_the_number_of_questions(disagree: float) -> None:
    """To within a question."""
    for n in (200, 1172):
        found = smallest_rate_difference(disagree, n)
        assert needed_questions(found * 1.00001, disagree) == n
    assert smallest_rate_difference(0.1, 20) == math.inf


def test_mistakes_name_the_value() -> None:
    """No difference, no spread, no items, impossible rates and goals."""
    with pytest.raises(UserError, match="difference of 0 cannot be seen"):
        needed_items(0, 0.4)
    with pytest.raises(UserError, match=r"more than 1e\+12 items"):
        needed_items(1e-8, 0.4)
    with pytest.raises(UserError, match=r"standard deviation is above 0; got 0\.0"):
        smallest_difference(0.0, 10)
    with pytest.raises(UserError, match="at least 2 items; got 1"):
        power_of(0.1, 0.4, 1)
    with pytest.raises(UserError, match=r"got 0\.1 for a difference of 0\.2"):
        needed_questions(0.2, 0.1)
    with pytest.raises(UserError, match=r"alpha 0\.9"):
        Goal(alpha=0.9)
