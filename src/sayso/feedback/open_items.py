"""What somebody can do next: takes a connection, a person and an act; returns items of the queue, the next one first.

An item is never offered twice to the same person, nor to anybody while another person holds it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql

from sayso.feedback.guidelines import latest_guidelines
from sayso.feedback.priority import EXTRA, OpenPair, Votes, in_order
from sayso.feedback.tables import messages, now, queue, reviews

Act = Literal["compare", "write", "check"]
_MOST = 500  # open pairs among which the next one is chosen
RECENT = 5_000  # reviews that count for the results of models, and for the agreement


@dataclass(frozen=True)
class OpenItem:
    """An item that somebody can work on."""

    queue_id: int
    message_id: int | None = None
    """The reply to check."""


def next_item(connection: sql.Connection, annotator: str, act: Act, origin: str | None) -> OpenItem | None:
    """Return what a person should do next; None if there is nothing. `origin`: only items of this kind or list."""
    if act == "compare":
        found = _next_pair(connection, annotator, origin)
    else:
        query = _unwritten(annotator) if act == "write" else _unchecked(annotator)
        query = query if origin is None else query.where(queue.c.origin == origin)
        row = connection.execute(query.limit(1)).one_or_none()
        found = None if row is None else OpenItem(*row)
    return found


def recent_results(connection: sql.Connection) -> dict[tuple[str, str], Votes]:
    """Return the verdicts of the last comparisons, by two models in alphabetical order."""
    last = sql.select(reviews.c.queue_id, reviews.c.value).where(reviews.c.act == "compare", reviews.c.state == "done")
    last_ones = last.order_by(reviews.c.id.desc()).limit(RECENT).subquery()
    one, other = messages.alias("one"), messages.alias("other")
    joined = last_ones.join(queue, queue.c.id == last_ones.c.queue_id)
    joined = joined.join(one, one.c.id == queue.c.first_id).join(other, other.c.id == queue.c.second_id)
    columns = (name_of(one), name_of(other), last_ones.c.value)
    query = sql.select(*columns, sql.func.count()).select_from(joined).group_by(*columns)
    found: dict[tuple[str, str], list[int]] = {}
    for first, second, value, count in connection.execute(query):
        votes = found.setdefault((min(first, second), max(first, second)), [0, 0, 0])
        votes[1 - (value if first <= second else -value)] += count
    return {models: (wins, ties, losses) for models, (wins, ties, losses) in found.items()}


def name_of(message: sql.FromClause) -> sql.ColumnElement[str]:
    """Return the name of what made a reply, with the beginning of the fingerprint: names are used again."""
    return sql.func.trim(message.c.model + " " + sql.func.substr(message.c.fingerprint, 1, 8))


def counted() -> sql.Subquery:
    """Return the verdicts on each pair: how many there are, and how many are a win of the first or the second."""
    count = sql.func.count
    wins, losses = (count(sql.case((reviews.c.value == value, 1))).label(name) for value, name in ((1, "w"), (-1, "l")))
    query = sql.select(reviews.c.queue_id, count().label("n"), wins, losses)
    query = query.where(reviews.c.act == "compare", reviews.c.state == "done")
    return query.group_by(reviews.c.queue_id).subquery("counted")


def unfinished(votes: sql.Subquery, needed: int) -> sql.ColumnElement[bool]:
    """Return the condition that a pair needs more reviews, as in `priority.is_finished`."""
    n, wins, losses = sql.func.coalesce(votes.c.n, 0), votes.c.w, votes.c.l
    majority = sql.or_(2 * wins > n, 2 * losses > n, 2 * (n - wins - losses) > n)
    return (n < needed) | ((n < needed + EXTRA) & ~majority)


def _next_pair(connection: sql.Connection, annotator: str, origin: str | None) -> OpenItem | None:
    needed, votes = latest_guidelines(connection).reviews, counted()
    one, other = messages.alias("one"), messages.alias("other")
    joined = queue.join(one, one.c.id == queue.c.first_id).join(other, other.c.id == queue.c.second_id)
    free = (queue.c.kind == "pair") & ~_seen_by(annotator, "compare") & ~_held_by_other(annotator, "compare")
    free = free if origin is None else free & (queue.c.origin == origin)
    names = (queue.c.id, name_of(one), name_of(other))
    begun = sql.select(*names, votes.c.n, votes.c.w, votes.c.l).where(free, unfinished(votes, needed))
    begun = begun.select_from(joined.join(votes, votes.c.queue_id == queue.c.id)).order_by(queue.c.id).limit(_MOST)
    pairs = [
        OpenPair(number, (wins, n - wins - losses, losses), (first, second))
        for number, first, second, n, wins, losses in connection.execute(begun)
    ]
    results = {}
    if not pairs:  # begun ones come first
        done = sql.select(reviews.c.id).where(*_of("compare"), reviews.c.state == "done")
        fresh = sql.select(*names).select_from(joined).where(free, ~sql.exists(done)).order_by(queue.c.id).limit(_MOST)
        pairs = [OpenPair(number, (0, 0, 0), (first, second)) for number, first, second in connection.execute(fresh)]
        results = recent_results(connection)
    found = in_order(pairs, results)
    return OpenItem(found[0].id) if found else None


def _unwritten(annotator: str) -> sql.Select[Any]:
    """Return the prompts to which nobody has written a reply, or one that was rejected."""
    written, rejected = reviews.alias("written"), reviews.alias("rejected")
    bad = sql.select(rejected.c.id).where(
        rejected.c.message_id == written.c.message_id, rejected.c.act == "check", rejected.c.value == -1
    )
    good = sql.select(written.c.id).where(
        *(written.c.queue_id == queue.c.id, written.c.act == "write", written.c.state == "done"), ~sql.exists(bad)
    )
    query = sql.select(queue.c.id).where(queue.c.kind == "write", ~sql.exists(good.correlate(queue)))
    query = query.where(~_seen_by(annotator, "write"), ~_held_by_other(annotator, "write"))
    return query.order_by(queue.c.id)


def _unchecked(annotator: str) -> sql.Select[Any]:
    """Return the replies that other people wrote and nobody has checked."""
    written, checked = reviews.alias("written"), reviews.alias("checked")
    seen = sql.select(checked.c.id).where(
        checked.c.message_id == written.c.message_id, checked.c.act == "check", checked.c.state == "done"
    )
    query = sql.select(queue.c.id, written.c.message_id).join(written, written.c.queue_id == queue.c.id)
    query = query.where(written.c.act == "write", written.c.state == "done", written.c.annotator != annotator)
    query = query.where(~sql.exists(seen.correlate(written)))
    query = query.where(~_seen_by(annotator, "check"), ~_held_by_other(annotator, "check"))
    return query.order_by(written.c.id)


def _of(act: Act) -> tuple[sql.ColumnElement[bool], sql.ColumnElement[bool]]:
    return reviews.c.queue_id == queue.c.id, reviews.c.act == act


def _seen_by(annotator: str, act: Act) -> sql.ColumnElement[bool]:
    return sql.exists(sql.select(reviews.c.id).where(*_of(act), reviews.c.annotator == annotator))


def _held_by_other(annotator: str, act: Act) -> sql.ColumnElement[bool]:
    held = sql.select(reviews.c.id).where(*_of(act), reviews.c.state == "held", reviews.c.at > now())
    return sql.exists(held.where(reviews.c.annotator != annotator))
