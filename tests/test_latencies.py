"""Percentiles of how fast replies came: close to those of the replies one by one, by group and period."""

from collections.abc import Callable

import numpy as np
import pytest

from sayso.feedback.latencies import PERCENTILES, TimeCount, percentiles, time_counts
from sayso.feedback.measures import catch_up, hour_of
from sayso.feedback.store import Store
from sayso.feedback.tables import now

Replied = Callable[..., int]


def hours(store: Store) -> tuple[int, int]:
    """A span that has everything until now."""
    return hour_of(now()) - 10_000, hour_of(now()) + 1


def test_percentiles_are_close_to_those_of_the_replies(store: Store, replied: Replied) -> None:
    """Within 2.5 %, over six orders of magnitude; a shadow and replies without times do not count."""
    draw = np.random.default_rng(0)
    firsts = [float(one) for one in 10 ** draw.uniform(-4, 2.5, 60)]
    for first in firsts:
        replied(store, "Hi", "Hello", first=first, seconds=first + 1.0, tokens=11)
    replied(store, "Hi", "Hello", first=1e4, route="shadow")
    replied(store, "Hi", "Hello", first=None, seconds=1e4)
    catch_up(store, 60)
    counts = time_counts(store, *hours(store))
    found = percentiles(counts, lambda _: ["all"], lambda _: 0)
    for name, share in PERCENTILES.items():
        one = found[f"first_seconds:{name}", "all", 0]
        assert one.mean == pytest.approx(np.quantile(firsts, share, method="inverted_cdf"), rel=0.025)
        assert found[f"token_seconds:{name}", "all", 0].mean == pytest.approx(0.1, rel=0.025)
        assert one.n == 60
    assert len(counts) < 60 + 5


def test_rounding_bounds_the_number_of_times_and_keeps_zero(store: Store, replied: Replied) -> None:
    """Replies that took about as long are one row."""
    for first in (0.0, 0.1001, 0.1002, 0.1049, 0.1051, 1234.0):
        replied(store, "Hi", "Hello", first=first, tokens=1)
    catch_up(store, 60)
    counts = time_counts(store, *hours(store))
    assert [(one.seconds, one.n) for one in counts] == [(0.0, 1), (0.1, 2), (0.105, 2), (1240.0, 1)]
    assert time_counts(store, 0, 5) == []
    assert time_counts(store, *(hour_of(now()) + step for step in (1, 2))) == []


def test_counts_of_hours_and_models_add_up() -> None:
    """Each group and period has its own."""
    counts = [TimeCount(hour, model, "first_seconds", 0.1 + hour, 50) for hour in range(4) for model in ("old", "new")]
    found = percentiles(counts, lambda one: {one.model, "both"}, lambda hour: hour // 2)
    middle = {(group, at): one for (name, group, at), one in found.items() if name == "first_seconds:p50"}
    assert {key: one.n for key, one in middle.items()} == {
        ("old", 0): 100, ("new", 0): 100, ("both", 0): 200, ("old", 1): 100, ("new", 1): 100, ("both", 1): 200,
    }  # fmt: skip
    assert middle["both", 1].mean == pytest.approx(2.1)
    assert found["first_seconds:p99", "both", 0].mean == pytest.approx(1.1)
