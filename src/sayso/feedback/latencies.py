"""Percentiles of how fast replies came: takes a span of hours, returns counts of times by hour and model.

Counts of several hours and models add up, and become percentiles only then, as `trends` does with sums. Times are
rounded, so that their number is bounded whatever the number of replies.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import measures
from sayso.feedback.trends import Key, shown_within
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.quantile import quantile

TIMES = ("first_seconds", "token_seconds")
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_STEPS = [(scale * below, scale * step) for scale in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
          for below, step in ((2, 0.05), (5, 0.1), (10, 0.2))]  # fmt: skip
"""Upper ends of ranges, in seconds, and the step to which times of each are rounded: by at most 2.5 %."""


@dataclass(frozen=True)
class TimeCount:
    """How many replies of one hour and model took about so long."""

    hour: int
    """Since 1970, in UTC."""
    model: str
    name: str
    """One of `TIMES`."""
    seconds: float
    n: int


def time_counts(store: Store, start: int, end: int) -> list[TimeCount]:
    """Return the counts of the hours from `start` to before `end`."""
    found = []
    with store.engine.begin() as connection:
        for name in TIMES:
            each = sql.select(measures.c.hour, measures.c.model, _rounded(measures.c[name]).label("seconds"))
            each = each.where(shown_within(start, end), measures.c[name].is_not(None))
            key = each.subquery().c
            query = sql.select(key.hour, key.model, key.seconds, sql.func.count()).group_by(*key)
            found += [
                TimeCount(hour, model, name, float(f"{value:.4g}"), n)
                for hour, model, value, n in connection.execute(query)
            ]
    return found


def percentiles(
    counts: Sequence[TimeCount], groups: Callable[[TimeCount], Collection[str]], period: Callable[[int], int]
) -> dict[Key, Estimate]:
    """Return the percentiles by name, such as `first_seconds:p90`, group and period."""
    cells: dict[Key, Counter[float]] = defaultdict(Counter)
    for one in counts:
        for group in groups(one):
            cells[one.name, group, period(one.hour)][one.seconds] += one.n
    return {
        (f"{name}:{percentile}", group, at): quantile(cell, share)
        for (name, group, at), cell in cells.items()
        for percentile, share in PERCENTILES.items()
    }


def _rounded(seconds: sql.ColumnElement[float]) -> sql.ColumnElement[float]:
    """Return a time rounded to the step of its range."""

    def to(step: float) -> sql.ColumnElement[Any]:
        return sql.func.round(seconds / step) * step

    return sql.case(*((seconds < below, to(step)) for below, step in _STEPS), else_=to(_STEPS[-1][1]))
