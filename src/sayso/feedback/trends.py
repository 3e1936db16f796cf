"""What happened in a store hour by hour: takes a span of hours, returns counts and sums by hour and model.

A sum is of one name, such as `first_seconds`, `signal:copied` or `flag:loop`. Sums of several hours and models add up,
and become an estimate with its interval only then. Only replies with measures count (`measures.catch_up`).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import flags, measures, minutes, ratings, signals, triage
from sayso.judge.statistics.estimate import Estimate, of_sums, proportion, without_error

REPLIES, WAITING = "replies", "waiting"
MEANS = {"first_seconds": math.inf, "token_seconds": math.inf, "tokens": math.inf, "repeated": 1.0}
"""What has a mean, with its highest possible value; the lowest is 0."""
SHARES = ("refused", "liked", "invalid", "rejected", "failed")
PARTS = ("signal:", "flag:")
"""Names that begin so are shares of the replies."""


@dataclass(frozen=True)
class HourSum:
    """The sum of some values of one hour and model."""

    hour: int
    """Since 1970, in UTC."""
    model: str
    name: str
    n: int
    """How many values: replies, rated replies, or requests. 0 for a part of the replies."""
    total: float
    squares: float = 0.0


Key = tuple[str, str, int]
"""Name, group, and first hour of the period."""
Cells = dict[Key, list[float]]
"""Number, total and squares of each."""


def hour_sums(store: Store, start: int, end: int) -> list[HourSum]:
    """Return all sums of the hours from `start` to before `end`."""
    with store.engine.begin() as connection:
        found, ids = _of_replies(connection, start, end)
        if ids is not None:
            within = shown_within(start, end)
            found += [*_thumbs(connection, within, ids), *_signals(connection, within, ids)]
            found += _flags(connection, within, ids)
        return [*found, *_traffic(connection, start, end)]


def merged(
    sums: Sequence[HourSum], groups: Callable[[HourSum], Collection[str]], period: Callable[[int], int]
) -> Cells:
    """Add sums up by name, group and period: those that a sum's hour is in. Of those that wait, the most counts."""
    found: Cells = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in sums:
        for group in groups(one):
            cell = found[one.name, group, period(one.hour)]
            if one.name == WAITING:
                cell[1] = max(cell[1], one.total)
                continue
            for place, value in enumerate((one.n, one.total, one.squares)):
                cell[place] += value
    parts = {name for name, _, _ in found if name.startswith(PARTS)}
    for _name, group, start in [key for key in found if key[0] == REPLIES]:
        for part in parts:
            found.setdefault((part, group, start), [0.0, 0.0, 0.0])
    return found


def estimates(cells: Cells) -> dict[Key, Estimate]:
    """Return each value: a mean with Student's interval, a share with Wilson's, or a count without one."""
    return {key: _estimate(cells, key, cell) for key, cell in cells.items()}


def _estimate(cells: Mapping[Key, Sequence[float]], key: Key, cell: Sequence[float]) -> Estimate:
    name, group, period = key
    n, total, squares = int(cell[0]), cell[1], cell[2]
    if name in MEANS:
        return of_sums(n, total, squares, 0.0, MEANS[name])
    if name in SHARES:
        return proportion(int(total), n)
    if name.startswith(PARTS):
        replies = int(cells[REPLIES, group, period][1])
        return proportion(min(int(total), replies), replies)
    if name == "waited":
        return without_error(total / n if n else math.nan, n)
    return without_error(total, 1 if name == WAITING else int(total))


def shown_within(start: int, end: int) -> sql.ColumnElement[bool]:
    """Return the condition of measures of replies that somebody saw in the hours from `start` to before `end`."""
    return sql.and_(measures.c.hour >= start, measures.c.hour < end, measures.c.shown == 1)


def _of_replies(connection: sql.Connection, start: int, end: int) -> tuple[list[HourSum], tuple[int, int] | None]:
    """Return the sums of the measures, and the lowest and highest number of these replies."""
    count, add = sql.func.count, sql.func.sum
    columns: list[Any] = [count().label("replies"), add(measures.c.refused).label("refused")]
    columns += [sql.func.min(measures.c.message_id).label("low"), sql.func.max(measures.c.message_id).label("high")]
    for name in MEANS:
        one = measures.c[name]
        parts = {"n": count(one), "total": add(one), "squares": add(one * one)}
        columns += [part.label(f"{name} {kind}") for kind, part in parts.items()]
    key = (measures.c.hour, measures.c.model)
    query = sql.select(*key, *columns).where(shown_within(start, end)).group_by(*key)
    found, rows = list[HourSum](), connection.execute(query).mappings().all()
    for row in rows:
        at = (row["hour"], row["model"])
        found.append(HourSum(*at, REPLIES, 0, row["replies"]))
        found.append(HourSum(*at, "refused", row["replies"], row["refused"]))
        for name in MEANS:
            if row[f"{name} n"]:
                found.append(HourSum(*at, name, *(row[f"{name} {kind}"] for kind in ("n", "total", "squares"))))
    ids = (min(row["low"] for row in rows), max(row["high"] for row in rows)) if rows else None
    return found, ids


def latest_thumbs(condition: sql.ColumnElement[bool]) -> sql.Select[Any]:
    """Return the thumbs that count: each annotator's latest about a reply, unless it was removed."""
    last = sql.select(sql.func.max(ratings.c.id)).where(ratings.c.kind == "thumb", condition)
    last = last.group_by(ratings.c.message_id, ratings.c.annotator)
    return sql.select(ratings.c.message_id, ratings.c.value).where(ratings.c.id.in_(last), ratings.c.value != 0)


def not_false() -> sql.ColumnElement[bool]:
    """Return the condition that a flag was not found to be false."""
    last = sql.select(sql.func.max(triage.c.id)).group_by(triage.c.flag_id)
    return flags.c.id.not_in(sql.select(triage.c.flag_id).where(triage.c.id.in_(last), triage.c.state == "false"))


def _thumbs(connection: sql.Connection, within: sql.ColumnElement[bool], ids: tuple[int, int]) -> Iterator[HourSum]:
    thumbs = latest_thumbs(ratings.c.message_id.between(*ids)).subquery()
    up = sql.func.sum(sql.case((thumbs.c.value > 0, 1), else_=0))
    key = (measures.c.hour, measures.c.model)
    joined = thumbs.join(measures, measures.c.message_id == thumbs.c.message_id)
    query = sql.select(*key, sql.func.count(), up).select_from(joined).where(within).group_by(*key)
    for hour, model, n, liked in connection.execute(query):
        yield HourSum(hour, model, "liked", n, liked)


def _signals(connection: sql.Connection, within: sql.ColumnElement[bool], ids: tuple[int, int]) -> Iterator[HourSum]:
    here = signals.c.message_id.between(*ids)
    yield from _parts(connection, signals, signals.c.kind, sql.and_(within, here), "signal:")


def _flags(connection: sql.Connection, within: sql.ColumnElement[bool], ids: tuple[int, int]) -> Iterator[HourSum]:
    here = flags.c.message_id.between(*ids)
    yield from _parts(connection, flags, flags.c.detector, sql.and_(within, here, not_false()), "flag:")


def _parts(
    connection: sql.Connection,
    table: sql.Table,
    kind: sql.ColumnElement[str],
    condition: sql.ColumnElement[bool],
    prefix: str,
) -> Iterator[HourSum]:
    """Yield how many replies have a row of a kind."""
    key = (measures.c.hour, measures.c.model, kind)
    joined = table.join(measures, measures.c.message_id == table.c.message_id)
    replies = sql.func.count(table.c.message_id.distinct())
    query = sql.select(*key, replies).select_from(joined).where(condition).group_by(*key)
    for hour, model, name, count in connection.execute(query):
        yield HourSum(hour, model, f"{prefix}{name}", 0, count)


def _traffic(connection: sql.Connection, start: int, end: int) -> Iterator[HourSum]:
    hour = (minutes.c.minute // 60).label("hour")
    names = ("requests", "invalid", "rejected", "failed", "begun", "waited")
    columns = [sql.func.sum(minutes.c[name]).label(name) for name in names]
    query = sql.select(hour, minutes.c.model, *columns, sql.func.max(minutes.c.waiting).label(WAITING))
    query = query.where(minutes.c.minute >= start * 60, minutes.c.minute < end * 60).group_by(hour, minutes.c.model)
    for row in connection.execute(query).mappings():
        at = (row["hour"], row["model"])
        yield HourSum(*at, "requests", 0, row["requests"])
        for name in ("invalid", "rejected", "failed"):
            yield HourSum(*at, name, row["requests"], row[name])
        yield HourSum(*at, "waited", row["begun"], row["waited"])
        yield HourSum(*at, WAITING, 0, row[WAITING])
