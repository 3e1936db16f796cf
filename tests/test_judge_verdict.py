"""Verdicts are sentences with the right model, the right numbers, and what to do next."""

from dataclasses import replace

import numpy as np
import pytest

from sayso.base.errors import UserError
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.power import Goal, needed_items
from sayso.judge.statistics.seeds import CrossedDifference, Seeds, compare_crossed, compare_recipes, over_seeds
from sayso.judge.statistics.significance import Comparison, compare_items
from sayso.judge.statistics.verdict import smallest_seen, verdict, verdict_of_recipes, verdict_over


def answers(wins: int, losses: int, ties: int) -> Comparison:
    """Return the comparison of two models with these counts."""
    return compare_items([1] * wins + [0] * losses + [1] * ties, [0] * wins + [1] * losses + [1] * ties)


def test_better_model_is_named_with_its_interval() -> None:
    """Whichever of the two it is."""
    expected = "tuned is better than base by 4.7 points (95 % interval 2.9 to 6.5, 1,172 items)."
    assert verdict(answers(85, 30, 1057), "tuned", "base") == expected
    assert verdict(answers(30, 85, 1057), "base", "tuned") == expected


def test_without_a_difference_it_says_what_would_have_been_seen() -> None:
    """And how many more items a difference of interest needs, in agreement with the power analysis."""
    found = answers(62, 58, 1052)
    assert verdict(found) == (
        "No difference was found (0.3 points for A minus B, 95 % interval -1.5 to 2.2, 1,172 items): one of 2.6 points "
        "would have been seen with a probability of 80 %; to see a difference of 1 point, about 7,000 more items are "
        "needed."
    )
    spread = found.difference.se * 1172**0.5
    assert needed_items(0.01, spread) - 1172 == pytest.approx(7000, rel=0.03)
    assert smallest_seen(found.difference) == pytest.approx(2.8 * found.difference.se, rel=0.02)
    assert verdict(found, interest=0.05).endswith("one of 2.6 points would have been seen with a probability of 80 %.")
    assert "with a probability of 95 %" in verdict(found, goal=Goal(power=0.95))


def test_promise_about_larger_differences_holds() -> None:
    """A difference of the size that the verdict names is detected in 76 to 84 % of evaluations."""
    seen = smallest_seen(answers(100, 100, 800).difference)
    draw = np.random.default_rng(0)
    counts = draw.multinomial(1000, [0.1 + seen / 2, 0.1 - seen / 2, 0.8], size=500)
    better = [verdict(answers(*map(int, row))).startswith("A is better") for row in counts]
    assert np.mean(better) == pytest.approx(0.8, abs=0.04)


def test_nothing_is_claimed_without_data() -> None:
    """No items, one item, all ties, scores without a limit."""
    assert verdict(compare_items([], [])) == "A and B have no items in common, so nothing can be said about them."
    assert "so few items cannot show any; to see a difference of 1 point, about" in verdict(answers(1, 0, 0))
    assert verdict(compare_items([0.5], [0.7])) == (
        "Nothing can be said about A and B (-20 points for A minus B, 1 item): too few items, or all alike, for an "
        "interval."
    )
    ties = verdict(answers(0, 0, 20))
    assert ties.startswith("No difference was found (0 points for A minus B, 95 % interval -12.6 to 12.6, 20 items)")
    assert "too few items, or all alike" in verdict(compare_items([7.0] * 9, [7.0] * 9))


def test_mistakes_name_the_value() -> None:
    """That every difference matters is not an answer."""
    with pytest.raises(UserError, match="that matters is above 0; got 0"):
        verdict(answers(1, 2, 3), interest=0)


def test_a_test_and_interval_that_disagree_decide_nothing() -> None:
    """A p value just below 5 % beside an interval that includes 0."""
    found = answers(85, 60, 1027)
    near = Comparison(found.difference, 0.6, found.n, found.wins, found.losses, found.ties, found.method)
    assert verdict(found).startswith("A is better")
    assert verdict(near).startswith("No difference was found")
    touching = replace(found, difference=replace(found.difference, low=0.0))
    assert verdict(touching).startswith("No difference was found")
    wide = answers(6, 0, 0)
    assert (wide.p < 0.05, wide.difference.low > 0) == (True, True)


def test_recipes_get_a_verdict_too() -> None:
    """With seeds in place of items."""
    a, b = over_seeds([0.50, 0.51, 0.52, 0.515]), over_seeds([0.40, 0.42, 0.41, 0.405])
    assert verdict(compare_recipes(a, b), unit="seeds").startswith("A is better than B by 10.2 points")
    assert "more seeds are needed" in verdict(compare_recipes(a, over_seeds([0.50, 0.52, 0.51])), unit="seeds")


def test_several_tasks_are_corrected_for_their_number() -> None:
    """A difference with p = 0.04 is one of one task, but not of three."""
    weak, strong, none = answers(85, 60, 1027), answers(30, 85, 1057), answers(60, 58, 1054)
    assert 0.03 < weak.p < 0.05
    assert verdict_over({"arc": weak}) == "A is better than B on arc (by 2.1 points)."
    assert verdict_over({"arc": weak, "boolq": strong, "copa": none}) == (
        "B is better than A on boolq (by 4.7 points); no difference between A and B was found on 2 tasks, where one of "
        "3.3 points would have been seen with a probability of 80 % (3 tasks, Holm's correction)."
    )
    assert verdict_over({"arc": strong, "boolq": answers(90, 30, 900), "x": strong}, "new", "nano") == (
        "new is better than nano on boolq (by 5.9 points); nano is better than new on arc (by 4.7 points) and x (by "
        "4.7 points) (3 tasks, Holm's correction)."
    )


def test_tasks_without_data_are_named() -> None:
    """And not counted."""
    empty = compare_items([], [])
    assert verdict_over({}) == "A and B have no task in common, so nothing can be said about them."
    assert verdict_over({"copa": empty}) == "Nothing can be said about copa."
    assert verdict_over({"arc": answers(85, 60, 1027), "copa": empty}) == (
        "A is better than B on arc (by 2.1 points); nothing can be said about copa."
    )
    few = verdict_over({"arc": answers(5, 6, 90), "copa": empty})
    assert few.startswith("No difference between A and B was found on 1 task, where one of")


def crossed_difference(mean: float, of_seeds: float, of_items: float) -> CrossedDifference:
    """Return a difference of recipes with these errors, of 3 and 4 seeds and 500 items."""
    se = (of_seeds**2 + of_items**2) ** 0.5
    a, b = (Seeds(Estimate(0.5, 0.01, count, 0.4, 0.6), 0.01, 0.01, 0.3, 0.7) for count in (3, 4))
    found = Estimate(mean, se, 500, mean - 1.96 * se, mean + 1.96 * se)
    return CrossedDifference(a, b, found, 0.01 if abs(mean) > 1.96 * se else 0.5, of_seeds, of_items)


def test_recipes_are_told_apart_or_what_it_takes_is_said() -> None:
    """Seeds if they can be enough, else items, else both; the numbers are those of the errors."""
    better = verdict_of_recipes(crossed_difference(0.05, 0.01, 0.005), "new", "old")
    assert better == "new is better than old by 5 points (95 % interval 2.8 to 7.2, 3 and 4 seeds, 500 items)."
    assert verdict_of_recipes(crossed_difference(-0.05, 0.01, 0.005)).startswith("B is better than A by 5 points")
    target = 0.01 / 2.8016
    seeds = verdict_of_recipes(crossed_difference(0.01, 0.01, 0.002))
    needed = 3 * (0.01**2 / (target**2 - 0.002**2) - 1)
    assert seeds.startswith("No difference was found (1 point for A minus B, 95 % interval -1.0 to 3.0, 3 and 4 seeds,")
    assert f"about {int(needed) + 1} more seeds of each recipe are needed." in seeds
    items = verdict_of_recipes(crossed_difference(0.01, 0.002, 0.01))
    assert "more items are needed, and more seeds alone are not enough." in items
    number = int(items.split("about ")[1].split(" more")[0].replace(",", ""))
    assert number == pytest.approx(500 * (0.01**2 / (target**2 - 0.002**2) - 1), rel=0.05)
    assert "both more seeds and more items are needed" in verdict_of_recipes(crossed_difference(0.01, 0.01, 0.01))
    exact = verdict_of_recipes(crossed_difference(0.0, 0.001, 0.001))
    assert exact.endswith("one of 0.4 points would have been seen with a probability of 80 %.")
    same = compare_crossed([[1.0, 1.0]] * 2, [[1.0, 1.0]] * 2)
    assert "all seeds score alike" in verdict_of_recipes(same)
    with pytest.raises(UserError, match="that matters is above 0; got 0"):
        verdict_of_recipes(same, interest=0)
    beyond = verdict_of_recipes(crossed_difference(0.001, 0.002, 1.2 * target))
    assert "more seeds alone are not enough" in beyond, "no number of seeds is enough"
    near = replace(crossed_difference(0.05, 0.01, 0.005), p=0.06)
    assert verdict_of_recipes(near).startswith("No difference was found")
