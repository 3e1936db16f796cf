"""The series of the charts: takes sums and times by hour and model, returns values by period and group."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sayso.feedback.latencies import TimeCount, percentiles
from sayso.feedback.tenure import Tenure
from sayso.feedback.trends import HourSum, Key, estimates, merged
from sayso.judge.statistics.estimate import Estimate

SERIES = 6  # models with a series of their own; the rest share one
OTHERS, NO_MODEL = "other models", "no model"
_MONDAY = 72  # hours from the Monday before 1970 to 1970
Told = list[float | int | None]
"""Value, ends of its interval, and number."""


class OfHour(Protocol):
    """Something of one hour and model."""

    @property
    def hour(self) -> int:
        """Since 1970, in UTC."""

    @property
    def model(self) -> str:
        """The name under which the replies are stored."""


_One = TypeVar("_One", bound=OfHour)
Grouped = Callable[[OfHour], set[str]]


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a span."""

    sums: Sequence[HourSum]
    times: Sequence[TimeCount]

    def estimates(self, groups: Grouped, period: Callable[[int], int]) -> Mapping[Key, Estimate]:
        """Return each value and percentile, by name, group and period."""
        return estimates(merged(self.sums, groups, period)) | percentiles(self.times, groups, period)


def period_of(size: int, shift: int) -> Callable[[int], int]:
    """Return the function from an hour to the first hour of its period of `size` hours.

    Days start at midnight in the time zone UTC + `shift` hours, weeks on Mondays.
    """
    offset = shift + _MONDAY
    return lambda hour: (hour + offset) // size * size - offset


def only(found: Iterable[_One], held: Sequence[Tenure], model: str | None, alias: str | None) -> list[_One]:
    """Return those of a model and of the models that an alias named, if these are given."""
    mine = [one for one in held if one.alias == alias]
    return [
        one
        for one in found
        if (model is None or one.model == model)
        and (alias is None or any(period.has(one.model, one.hour) for period in mine))
    ]


def series_of(recorded: Recorded, groups: Grouped, period: Callable[[int], int]) -> dict[str, dict[str, list[Told]]]:
    """Return the points of each chart, by name and group: the first hour of a period and its value."""
    parts = recorded.estimates(groups, period)
    series: dict[str, dict[str, list[Told]]] = {}
    for (name, group, at), found in sorted(parts.items()):
        if found.n:
            series.setdefault(name, {}).setdefault(group, []).append([at, *told(found)])
    return series


def totals_of(recorded: Recorded, groups: Grouped) -> dict[str, dict[str, Told]]:
    """Return the value of each name in the whole span, by group."""
    summed: dict[str, dict[str, Told]] = {}
    for (name, group, _), found in sorted(recorded.estimates(groups, lambda _: 0).items()):
        summed.setdefault(group, {})[name] = told(found)
    return summed


class Groups:
    """The groups of a sum or time: all, its model, or the aliases that named it."""

    def __init__(self, by: str, sums: Sequence[HourSum], held: Sequence[Tenure]) -> None:
        self.by, self.held = by, held
        replies: dict[str, float] = {}
        for one in sums:
            replies[one.model] = replies.get(one.model, 0) + (one.total if one.name in ("replies", "requests") else 0)
        self.own = {*sorted(replies, key=lambda model: (-replies[model], model))[:SERIES]}

    def __call__(self, one: OfHour) -> set[str]:
        """Return the groups of a sum or time."""
        if self.by == "alias":
            return {period.alias for period in self.held if period.has(one.model, one.hour)}
        if self.by == "model":
            return {(one.model or NO_MODEL) if one.model in self.own else OTHERS}
        return {"all"}


def told(found: Estimate) -> Told:
    """Return value, ends of the interval, and number; null for what is unknown."""
    values = (found.mean, found.low, found.high)
    return [*(float(f"{one:.5g}") if math.isfinite(one) else None for one in values), found.n]
