"""Verdicts are sentences with the right model, the right numbers, and what to do next."""

import numpy as np
import pytest

from sayso.base.errors import UserError
from sayso.judge.statistics.power import Goal, needed_items
from sayso.judge.statistics.seeds import compare_recipes, over_seeds
from sayso.judge.statistics.significance import Comparison, compare_items
from sayso.judge.statistics.verdict import smallest_seen, verdict, verdict_over


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
    """Models that differ by what "would have been seen" are told apart in 80 % of evaluations, within 4 %."""
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
