"""Notes: what people wrote about replies in their own words, each in at most one category.

Append-only: a changed, grouped or removed note is a new row, and the latest one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError, nearest
from sayso.feedback.cases import FORBID, SAME, add_case
from sayso.feedback.categories import function_name
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.storable import storable
from sayso.feedback.store import MissingError, Store
from sayso.feedback.tables import cases, categories, messages, notes, now, sampled


@dataclass(frozen=True)
class Note:
    """One note, as it is now."""

    id: int
    message_id: int
    """The reply."""
    text: str
    category_id: int | None
    annotator: str | None
    """Who wrote it first."""
    created_at: str
    case: str | None = None
    """The state of the evaluation case that was made of the reply without a flag, if there is one."""


class Notes:
    """The notes of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        self._writes = store.engine.execution_options(writes=True)

    def add(self, message_id: int, text: str, annotator: str | None = None) -> Note:
        """Write a note about a reply. Raises `UserError` for an empty one, or if there is no such reply."""
        with self._writes.begin() as connection:
            reply = sql.select(messages.c.id).where(messages.c.id == message_id, messages.c.model.is_not(None))
            if connection.scalar(reply) is None:
                raise MissingError(f"Notes are about replies; there is no reply {message_id}.")
            row = {"message_id": message_id, "text": _checked(text), "annotator": annotator, "created_at": now()}
            made = connection.execute(notes.insert().values(row).returning(notes.c.id)).scalar_one()
            return _one(connection, made)

    def change(self, number: int, text: str, annotator: str | None = None) -> Note:
        """Replace the text of a note."""
        with self._writes.begin() as connection:
            _append(connection, _one(connection, number), {"text": _checked(text)}, annotator)
            return _one(connection, number)

    def remove(self, number: int, annotator: str | None = None) -> None:
        """Remove a note."""
        with self._writes.begin() as connection:
            _append(connection, _one(connection, number), {"text": None}, annotator)

    def group(self, numbers: Sequence[int], category_id: int | None, annotator: str | None = None) -> list[Note]:
        """Put notes into a category, or into none, all of them or none of them; return them."""
        with self._writes.begin() as connection:
            known = sql.select(categories.c.id).where(categories.c.id == category_id)
            if category_id is not None and connection.scalar(known) is None:
                raise MissingError(f"There is no category {category_id}.")
            for number in dict.fromkeys(numbers):
                _append(connection, _one(connection, number), {"category_id": category_id}, annotator)
            return [_one(connection, number) for number in numbers]

    def listed(self, limit: int = 2000) -> list[Note]:
        """Return the latest notes, oldest first."""
        with self._engine.begin() as connection:
            return _notes(connection, sql.true(), limit)[::-1]

    def of_sample(self, sample_id: int, limit: int = 2000) -> list[Note]:
        """Return the latest notes about the replies of a sample, oldest first."""
        inside = sql.select(sampled.c.message_id).where(sampled.c.sample_id == sample_id)
        with self._engine.begin() as connection:
            return _notes(connection, notes.c.message_id.in_(inside), limit)[::-1]

    def of_replies(self, message_ids: Sequence[int]) -> list[Note]:
        """Return the notes about some replies, oldest first."""
        with self._engine.begin() as connection:
            return _notes(connection, notes.c.message_id.in_(message_ids), None)[::-1]

    def excerpts(self, sample_id: int, longest: int) -> dict[int, str]:
        """Return the beginning of each reply of a sample that has a note, at most `longest` characters."""
        noted = sql.select(notes.c.message_id).join(sampled, sampled.c.message_id == notes.c.message_id)
        query = sql.select(messages.c.id, sql.func.substr(messages.c.content, 1, longest))
        with self._engine.begin() as connection:
            rows = connection.execute(query.where(messages.c.id.in_(noted.where(sampled.c.sample_id == sample_id))))
            return dict(rows.all())

    def make_cases(self, numbers: Sequence[int], check: str = SAME, forbid: str | None = None) -> int:
        """Make the replies of notes evaluation cases; return the number of replies that are cases now.

        A new reply to the same prompt is bad if the detector `check` finds something in it, if it says the `SAME`, or
        with `FORBID` if it contains the text `forbid`. A raw prompt becomes no case. Raises `UserError` for a check
        that is not known.
        """
        with self._writes.begin() as connection:
            found = [_one(connection, number) for number in numbers]
            own = {name for one in found if (name := _own_check(connection, one.category_id)) is not None}
            if check not in (known := (SAME, FORBID, *DETECTORS, *sorted(own))):
                raise UserError(f"A case is checked by {', '.join(known)}; got '{check[:64]}'.{nearest(check, known)}")
            if (check == FORBID) != bool(forbid and forbid.strip()):
                raise UserError(
                    f"A text that replies must not contain is given with the check '{FORBID}', and only then."
                )
            replies = dict.fromkeys(one.message_id for one in found)
            return sum(add_case(connection, reply, None, check, forbid) for reply in replies)

    def retire_cases(self, numbers: Sequence[int]) -> None:
        """Retire the evaluation cases that were made of the replies of notes."""
        with self._writes.begin() as connection:
            replies = [_one(connection, number).message_id for number in numbers]
            made = cases.c.message_id.in_(replies) & cases.c.flag_id.is_(None)
            connection.execute(cases.update().where(made).values(state="retired"))


def _own_check(connection: sql.Connection, category_id: int | None) -> str | None:
    """Return the name of the detector that a user may write for a category; None without one."""
    name = connection.scalar(sql.select(categories.c.name).where(categories.c.id == category_id))
    return None if name is None else function_name(name)


def _checked(text: str) -> str:
    if not text.strip():
        raise UserError("A note must not be empty.")
    return str(storable(text.strip()))


def _append(connection: sql.Connection, note: Note, changes: dict[str, Any], annotator: str | None) -> None:
    """Store what has changed about a note."""
    row = {"message_id": note.message_id, "first_id": note.id, "text": note.text, "category_id": note.category_id}
    connection.execute(notes.insert().values({**row, "annotator": annotator, "created_at": now(), **changes}))


def _one(connection: sql.Connection, number: int) -> Note:
    found = _notes(connection, sql.or_(notes.c.id == number, notes.c.first_id == number), 1)
    if not found or found[0].id != number:
        raise MissingError(f"There is no note {number}.")
    return found[0]


def _notes(connection: sql.Connection, condition: sql.ColumnElement[bool], limit: int | None) -> list[Note]:
    """Return notes as they are now, newest first."""
    number = sql.func.coalesce(notes.c.first_id, notes.c.id)
    latest = sql.select(sql.func.max(notes.c.id).label("last"), number.label("number")).where(condition)
    latest_of = latest.group_by(number).subquery()
    now_, first = notes.alias("now_"), notes.alias("first")
    case = sql.select(sql.func.max(cases.c.id)).where(
        cases.c.message_id == now_.c.message_id, cases.c.flag_id.is_(None)
    )
    state = sql.select(cases.c.state).where(cases.c.id == case.correlate(now_).scalar_subquery()).scalar_subquery()
    joined = latest_of.join(now_, now_.c.id == latest_of.c.last).join(first, first.c.id == latest_of.c.number)
    columns = (first.c.id, now_.c.message_id, now_.c.text, now_.c.category_id, first.c.annotator, first.c.created_at)
    query = sql.select(*columns, state.label("case")).select_from(joined).where(now_.c.text.is_not(None))
    rows = connection.execute(query.order_by(first.c.id.desc()).limit(limit)).mappings()
    return [Note(**row) for row in rows]
