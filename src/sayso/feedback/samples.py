"""Samples of conversations: takes filters and a seed, draws conversations to read, and keeps which ones were read.

A sample holds its conversations as they were when it was drawn. The same seed on the same store gives the same one.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from sayso.base.errors import UserError
from sayso.feedback.lines import last_reply, line_of
from sayso.feedback.storable import storable
from sayso.feedback.store import MissingError, Store
from sayso.feedback.tables import conversations, flags, messages, now, ratings, readings, sampled, samples

CONSIDERED = 1_000_000  # newest conversations from which a sample is drawn
LARGEST = 1000  # conversations of a sample
_SEEDS = 2**31
_RECENT = 10_000  # messages and flags in which filters are looked for


@dataclass(frozen=True)
class Filters:
    """Which conversations are drawn from; all that have a reply by default."""

    only: Literal["flagged", "disliked"] | None = None
    """Those with a flag, whatever people made of it, or with a reply whose latest thumb is down."""
    detector: str | None = None
    """Those with a flag of this detector."""
    model: str | None = None
    """Those with a reply by this model."""
    since: str | None = None
    """Those in which something was said on this day (UTC, YYYY-MM-DD) or later."""
    until: str | None = None
    """Those in which nothing was said after this day."""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            _day(getattr(self, name), name)

    @property
    def given(self) -> dict[str, str]:
        """The filters that are set."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True)
class Sample:
    """A sample and how far it was read."""

    id: int
    name: str
    filters: dict[str, str]
    seed: int
    matched: int
    """The number of conversations that it was drawn from."""
    size: int
    """The number of its conversations, without those deleted since."""
    read: int
    annotator: str | None
    created_at: str


@dataclass(frozen=True)
class Item:
    """One conversation of a sample."""

    position: int
    conversation_id: int
    message_id: int
    """Its last reply when it was drawn."""
    title: str
    read: bool
    replies: dict[int, str]
    """The model of each of its replies, oldest first."""


class Samples:
    """The samples of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self._writes = store.engine.execution_options(writes=True)

    def draw(self, filters: Filters, size: int, seed: int, name: str = "", annotator: str | None = None) -> Sample:
        """Draw conversations at random, without replacement; fewer than `size` if there are no more.

        Raises `UserError` if none matches.
        """
        if not 1 <= size <= LARGEST:
            raise UserError(f"A sample has 1 to {LARGEST} conversations; got {size}.")
        if not 0 <= seed < _SEEDS:
            raise UserError(f"A seed must be from 0 to {_SEEDS - 1}; got {seed}.")
        with self._engine.begin() as connection:
            found = [*connection.scalars(_matching(filters))]
            random.Random(seed).shuffle(found)
            lines = _lines(connection, found, size)
        if not lines:
            raise UserError("No conversation with a reply matches; change the filters.")
        row = {"name": storable(name.strip()), "filters": storable(filters.given), "seed": seed, "matched": len(found)}
        try:
            with self._writes.begin() as connection:
                insert = samples.insert().values(row | {"annotator": annotator, "created_at": now()})
                made = connection.execute(insert.returning(samples.c.id)).scalar_one()
                places = [(place, one) for place, line in enumerate(lines, 1) for one in line]
                rows = [{"sample_id": made, "position": place, "message_id": one} for place, one in places]
                connection.execute(sampled.insert(), rows)
        except IntegrityError as error:
            raise UserError("A conversation was deleted while the sample was drawn; draw it again.") from error
        return self.one(made)

    def listed(self) -> list[Sample]:
        """Return all samples, newest first."""
        with self._engine.begin() as connection:
            return _samples(connection, sql.true())

    def one(self, number: int) -> Sample:
        """Return a sample. Raises `UserError` if there is none with this number."""
        with self._engine.begin() as connection:
            found = _samples(connection, samples.c.id == number)
        if not found:
            raise MissingError(f"There is no sample {number}.")
        return found[0]

    def delete(self, number: int) -> None:
        """Delete a sample; the notes about its replies stay."""
        with self._writes.begin() as connection:
            if not connection.execute(samples.delete().where(samples.c.id == number)).rowcount:
                raise MissingError(f"There is no sample {number}.")

    def items(self, number: int) -> list[Item]:
        """Return the conversations of a sample in the order of reading."""
        joined = sampled.join(messages, messages.c.id == sampled.c.message_id)
        joined = joined.join(conversations, conversations.c.id == messages.c.conversation_id)
        columns = (
            sampled.c.position,
            messages.c.id,
            messages.c.conversation_id,
            messages.c.model,
            conversations.c.title,
        )
        query = sql.select(*columns).select_from(joined).where(sampled.c.sample_id == number)
        with self._engine.begin() as connection:
            rows = connection.execute(query.order_by(sampled.c.position, sampled.c.id)).all()
            read = {*connection.scalars(sql.select(readings.c.message_id).where(readings.c.sample_id == number))}
        places: dict[int, list[Any]] = {}
        for row in rows:
            places.setdefault(row.position, []).append(row)
        return [_item(those, read) for those in places.values()]

    def item(self, number: int, position: int) -> Item:
        """Return one conversation of a sample. Raises `UserError` if it has none at this position."""
        found = [one for one in self.items(number) if one.position == position]
        if not found:
            raise MissingError(f"Sample {number} has no conversation {position}; it may have been deleted.")
        return found[0]

    def mark(self, number: int, position: int, read: bool = True, annotator: str | None = None) -> Sample:
        """Keep that a conversation of a sample was read, or not; return the sample."""
        last = self.item(number, position).message_id
        same = (readings.c.sample_id == number) & (readings.c.message_id == last)
        row = {"sample_id": number, "message_id": last, "annotator": annotator, "created_at": now()}
        try:
            with self._writes.begin() as connection:
                if not read:
                    connection.execute(readings.delete().where(same))
                elif connection.scalar(sql.select(readings.c.id).where(same)) is None:
                    connection.execute(readings.insert().values(row))
        except IntegrityError:  # somebody else has read it at the same moment, or it was deleted
            pass
        return self.one(number)

    def choices(self) -> tuple[list[str], list[str]]:
        """Return the models of recent replies and the detectors of recent flags, by which a sample can be filtered."""
        with self._engine.begin() as connection:
            found = []
            for column, table in ((messages.c.model, messages), (flags.c.detector, flags)):
                recent = sql.select(column.label("name")).order_by(table.c.id.desc()).limit(_RECENT).subquery()
                query = sql.select(recent.c.name).where(recent.c.name.is_not(None)).distinct()
                found.append([*connection.scalars(query.order_by(recent.c.name))])
            return found[0], found[1]


def _matching(filters: Filters) -> sql.Select[tuple[int]]:
    """Return the query of the conversations with a reply that match, oldest first."""
    talk, recent = conversations.c.id, conversations.alias("recent")
    newest = sql.select(recent.c.id).order_by(recent.c.id.desc()).offset(CONSIDERED).limit(1).scalar_subquery()
    replies = sql.select(messages.c.id).where(messages.c.conversation_id == talk, messages.c.model.is_not(None))
    with_reply = replies if filters.model is None else replies.where(messages.c.model == filters.model)
    query = sql.select(talk).where(with_reply.exists(), talk > sql.func.coalesce(newest, 0))
    if filters.only == "flagged" or filters.detector:
        flagged = replies.join(flags, flags.c.message_id == messages.c.id)
        flagged = flagged.where(flags.c.detector == filters.detector) if filters.detector else flagged
        query = query.where(flagged.exists())
    if filters.only == "disliked":
        thumbs = sql.select(sql.func.max(ratings.c.id)).where(ratings.c.message_id == messages.c.id)
        last = thumbs.where(ratings.c.kind == "thumb").correlate(messages).scalar_subquery()
        down = sql.select(ratings.c.id).where(ratings.c.id == last, ratings.c.value == -1).correlate(messages)
        query = query.where(replies.where(down.exists()).exists())
    since, until = _day(filters.since, "since"), _day(filters.until, "until")
    if since:
        query = query.where(conversations.c.updated_at >= since.isoformat())
    if until:
        query = query.where(conversations.c.updated_at < (until + timedelta(days=1)).isoformat())
    return query.order_by(talk)


def _day(given: str | None, name: str) -> date | None:
    """Return a day. Raises `UserError` for another text."""
    try:
        found = date.fromisoformat(given) if given else None
    except ValueError:
        found = None
    if given and (found is None or len(given) != len("2026-01-31") or found == date.max):
        raise UserError(f"'{name}' must be a day such as 2026-01-31; got '{given[:20]}'.")
    return found


def _lines(connection: sql.Connection, talks: Sequence[int], size: int) -> list[list[int]]:
    """Return the replies of the first `size` of some conversations, each with the one that ends it last."""
    found = list[list[int]]()
    for talk in talks:
        last = last_reply(connection, talk)
        if last is not None:
            turns = line_of(connection, last)
            found.append([turn.message_id for turn in turns if turn.message_id is not None])
        if len(found) == size:
            break
    return found


def _samples(connection: sql.Connection, condition: sql.ColumnElement[bool]) -> list[Sample]:
    of_each = sampled.c.sample_id == samples.c.id
    size = sql.select(sql.func.count(sampled.c.position.distinct())).where(of_each).scalar_subquery()
    read = sql.select(sql.func.count(readings.c.id)).where(readings.c.sample_id == samples.c.id).scalar_subquery()
    names = ("id", "name", "filters", "seed", "matched", "annotator", "created_at")
    query = sql.select(*(samples.c[name] for name in names), size.label("size"), read.label("read")).where(condition)
    return [Sample(**row) for row in connection.execute(query.order_by(samples.c.id.desc())).mappings()]


def _item(rows: Sequence[Any], read: set[int]) -> Item:
    last = rows[-1]
    replies = {row.id: row.model for row in rows}
    return Item(last.position, last.conversation_id, last.id, last.title, last.id in read, replies)
