"""What a comparison means, in one sentence that a person can act on."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Protocol

from sayso.base.errors import UserError
from sayso.judge.statistics.estimate import LEVEL, Estimate
from sayso.judge.statistics.power import USUAL, Goal
from sayso.judge.statistics.seeds import CrossedDifference
from sayso.judge.statistics.significance import holm


class Compared(Protocol):
    """A comparison of items (`compare_items`) or of recipes (`compare_recipes`)."""

    @property
    def difference(self) -> Estimate:
        """Mean of A minus B."""

    @property
    def p(self) -> float:
        """P value."""


def verdict(
    found: Compared, a: str = "A", b: str = "B", interest: float = 0.01, unit: str = "items", goal: Goal = USUAL
) -> str:
    """Return which of the models named `a` and `b` is better, or how large a difference would have been seen.

    Scores are from 0 to 1, higher is better; a point is 0.01. `interest` is the smallest difference that matters to
    you, above 0. A model is called better if p is below the goal's alpha and the 95 % interval excludes 0.
    """
    if not interest > 0:
        raise UserError(f"The smallest difference that matters is above 0; got {interest}.")
    difference = found.difference
    n, apart = _counted(difference.n, unit), f"{_points(difference.mean)} for {a} minus {b}"
    if difference.n == 0:
        return f"{a} and {b} have no {unit} in common, so nothing can be said about them."
    if math.isnan(difference.low):
        return f"Nothing can be said about {a} and {b} ({apart}, {n}): too few {unit}, or all alike, for an interval."
    if separated(found, goal):
        better, worse = (a, b) if difference.mean > 0 else (b, a)
        low, high = sorted((abs(difference.low), abs(difference.high)))
        by = _points(abs(difference.mean))
        return f"{better} is better than {worse} by {by} ({_interval(low, high)}, {n})."
    seen = smallest_seen(difference, goal)
    measured = f"{apart}, {_interval(difference.low, difference.high)}, {n}"
    limit = _seen(seen, unit, goal)
    more = difference.n * ((seen / interest) ** 2 - 1)
    if more > 0:
        needed = _counted(_rounded(more), f"more {unit}")
        limit += f"; to see a difference of {_points(interest)}, about {needed} are needed"
    return f"No difference was found ({measured}): {limit}."


def verdict_of_recipes(
    found: CrossedDifference, a: str = "A", b: str = "B", interest: float = 0.01, goal: Goal = USUAL
) -> str:
    """Return which of two recipes is better, or how large a difference would have been seen, and what more it takes.

    Arguments as in `verdict`. What is needed is more seeds if these alone can be enough, else more items, else both.
    """
    if not interest > 0:
        raise UserError(f"The smallest difference that matters is above 0; got {interest}.")
    difference = found.difference
    sizes = f"{found.a.mean.n:,} and {found.b.mean.n:,} seeds, {_counted(difference.n, 'items')}"
    apart = f"{_points(difference.mean)} for {a} minus {b}"
    if math.isnan(difference.low):
        return f"Nothing can be said about {a} and {b} ({apart}, {sizes}): all seeds score alike."
    if separated(found, goal):
        better, worse = (a, b) if difference.mean > 0 else (b, a)
        low, high = sorted((abs(difference.low), abs(difference.high)))
        return f"{better} is better than {worse} by {_points(high / 2 + low / 2)} ({_interval(low, high)}, {sizes})."
    measured, seen = f"{apart}, {_interval(difference.low, difference.high)}, {sizes}", smallest_seen(difference, goal)
    limit = _seen(seen, "seeds and items", goal)
    if seen > interest:
        limit += f"; to see a difference of {_points(interest)}, {_more_of(found, interest / sum(goal.quantiles()))}"
    return f"No difference was found ({measured}): {limit}."


def _more_of(found: CrossedDifference, error: float) -> str:
    """Return what is needed for a standard error, if seeds and items vary as they do."""
    seeds, items, target = found.of_seeds**2, found.of_items**2, error**2
    fewest, n = min(found.a.mean.n, found.b.mean.n), found.difference.n
    if items < target:
        more = max(1, math.ceil(fewest * (seeds / (target - items) - 1)))
        return f"about {_counted(more, 'more seeds')} of each recipe are needed"
    if seeds < target:
        more = max(1, math.ceil(n * (items / (target - seeds) - 1)))
        return f"about {_counted(_rounded(more), 'more items')} are needed, and more seeds alone are not enough"
    return "both more seeds and more items are needed"


def verdict_over(found: Mapping[str, Compared], a: str = "A", b: str = "B", goal: Goal = USUAL) -> str:
    """Return on which of several tasks a model is better, with p values corrected for the number of tasks by Holm.

    Tasks without an interval, such as those without items, are named and not counted.
    """
    tasks = {name: one for name, one in found.items() if not math.isnan(one.difference.low)}
    p = holm({name: one.p for name, one in tasks.items()})
    apart = {name: one.difference.mean for name, one in tasks.items() if p[name] < goal.alpha and separated(one, goal)}
    parts = [
        f"{better} is better than {worse} on {_listed([f'{t} (by {_points(abs(d))})' for t, d in wins.items()])}"
        for better, worse, wins in (
            (a, b, {task: mean for task, mean in apart.items() if mean > 0}),
            (b, a, {task: mean for task, mean in apart.items() if mean < 0}),
        )
        if wins
    ]
    if rest := [one for name, one in tasks.items() if name not in apart]:
        strict = Goal(goal.alpha / len(tasks), goal.power)
        seen = max(smallest_seen(one.difference, strict) for one in rest)
        parts.append(
            f"{'no' if apart else 'No'} difference between {a} and {b} was found on {_counted(len(rest), 'tasks')}, "
            f"where {_seen(seen, 'items', goal)}"
        )
    if unknown := [name for name in found if name not in tasks]:
        parts.append(f"{'nothing' if tasks else 'Nothing'} can be said about {_listed(unknown)}")
    if not parts:
        return f"{a} and {b} have no task in common, so nothing can be said about them."
    return "; ".join(parts) + (f" ({len(tasks)} tasks, Holm's correction)." if len(tasks) > 1 else ".")


def _seen(seen: float, unit: str, goal: Goal) -> str:
    """Return which difference would have been seen, given the smallest one; scores differ by at most 1."""
    if seen >= 1:
        return f"so few {unit} cannot show any"
    return f"one of {_points(seen)} would have been seen with a probability of {100 * goal.power:.0f} %"


def separated(found: Compared, goal: Goal = USUAL) -> bool:
    """Tell whether both the test and the interval say that the models differ."""
    return found.p < goal.alpha and not found.difference.low <= 0 <= found.difference.high


def smallest_seen(difference: Estimate, goal: Goal = USUAL) -> float:
    """Return the true difference that the same evaluation would see with the goal's power.

    The standard error is that of the interval, which is above 0 even if all items are ties.
    """
    return sum(goal.quantiles()) * (difference.high - difference.low) / 2 / NormalDist().inv_cdf(0.5 + LEVEL / 2)


def _points(score: float) -> str:
    """Return a score as "2.1 points", with a second digit below 0.1."""
    value = 100 * score
    digits = 1 if abs(value) >= 0.1 or value == 0 else 2
    text = f"{value:,.{digits}f}".removesuffix(".0")
    return f"{text} {'point' if text in ('1', '-1') else 'points'}"


def _interval(low: float, high: float) -> str:
    return f"{100 * LEVEL:.0f} % interval {100 * low:,.1f} to {100 * high:,.1f}"


def _rounded(number: float) -> int:
    """Return a whole number at least as large, with two significant digits."""
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1) if number >= 1 else 1
    return math.ceil(number / unit) * unit


def _counted(number: int, plural: str) -> str:
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(([", ".join(names[:-1])] if names[1:] else []) + [names[-1]])
