"""Flags: what detectors found in a store's replies, and what people made of it.

A scan adds flags, and never one twice. Triage is append-only: the latest row of a flag counts. A flag that is marked
real becomes an evaluation case.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sql

from sayso.base.errors import UserError, nearest
from sayso.feedback.cases import FORBID, add_case, set_cases
from sayso.feedback.detectors.detector import Detector, Reply
from sayso.feedback.prompts import chain, prompt_of
from sayso.feedback.storable import storable
from sayso.feedback.store import MissingError, Store
from sayso.feedback.tables import flags, messages, now, triage, turns
from sayso.reply.listed import tools_of

State = Literal["open", "real", "false", "fixed"]
STATES = get_args(State)
_AT_ONCE = 200  # messages read between two writes
_BIGGEST = 2**31 - 1  # of a row's number


@dataclass(frozen=True)
class Flag:
    """One finding of a detector, with the latest verdict on it."""

    id: int
    message_id: int
    """The reply."""
    detector: str
    version: str
    detail: str
    created_at: str
    state: str
    reason: str | None
    annotator: str | None


class Flags:
    """The flags of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes = store.engine.execution_options(writes=True)

    def scan(
        self, detectors: Sequence[Detector], after: int = 0, upto: int | None = None
    ) -> Iterator[tuple[int, int, dict[str, int]]]:
        """Look at every reply whose message is newer than `after`; what is found is stored, a few messages at a time.

        `upto` is the last message to look at, by default the newest. Yields, after each part, the id of the last
        message, the number of replies, and the new flags by detector. A detector that reads what the user said next
        also sees an older reply when that is new.
        """
        last = self.last_message() if upto is None else upto
        while True:
            with self._store.engine.begin() as connection:
                query = messages.select().where(messages.c.id > after, messages.c.id <= last)
                query = query.order_by(messages.c.id).limit(_AT_ONCE)
                rows = connection.execute(query).mappings().all()
                if not rows:
                    return
                seen = {row["id"]: read_reply(connection, row) for row in rows if row["prompt_id"] is not None}
                late = {row["id"]: read_reply(connection, row) for row in _answered(connection, rows)}
            found = [
                {"message_id": message, "detector": one.name, "version": one.version, "detail": detail}
                for places, those in ((seen, detectors), (late, [one for one in detectors if one.late]))
                for message, reply in places.items()
                for one in those
                if (detail := one.found(reply)) is not None
            ]
            new = self._add(found)
            after = rows[-1]["id"]
            yield after, len(seen), new

    def _add(self, found: Sequence[dict[str, Any]]) -> dict[str, int]:
        """Store flags that are not there yet; return how many of each detector are new."""
        counts: dict[str, int] = {}
        with self._writes.begin() as connection:
            for row in found:
                same = [flags.c[name] == row[name] for name in ("message_id", "detector", "version")]
                there = connection.scalar(sql.select(messages.c.id).where(messages.c.id == row["message_id"]))
                if there is None or connection.scalar(sql.select(flags.c.id).where(*same)) is not None:
                    continue  # deleted meanwhile, or flagged before
                clean = storable(row["detail"])
                connection.execute(flags.insert().values({**row, "detail": clean, "created_at": now()}))
                counts[row["detector"]] = counts.get(row["detector"], 0) + 1
        return counts

    def last_message(self) -> int:
        """Return the id of the newest message; 0 if there is none. No older one is stored after this returns.

        PostgreSQL gives ids before transactions end, so the writers of messages are waited for.
        """
        with self._store.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"LOCK TABLE {messages.name} IN SHARE MODE")
            return connection.scalar(sql.select(sql.func.max(messages.c.id))) or 0

    def listed(self, state: str | None = "open", detector: str | None = None, limit: int = 50) -> list[Flag]:
        """Return the newest flags in a state, newest first; of every state if None."""
        query = _flags()
        if state is not None:
            query = query.where(_state() == state)
        if detector is not None:
            query = query.where(flags.c.detector == detector)
        with self._store.engine.begin() as connection:
            rows = connection.execute(query.order_by(flags.c.id.desc()).limit(limit)).mappings()
            return [Flag(**row) for row in rows]

    def of_reply(self, message_id: int) -> list[Flag]:
        """Return the flags of one reply, oldest first."""
        query = _flags().where(flags.c.message_id == message_id).order_by(flags.c.id)
        with self._store.engine.begin() as connection:
            return [Flag(**row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of flags by detector and state."""
        latest = _latest()
        query = sql.select(flags.c.detector, _state(), sql.func.count()).select_from(flags.outerjoin(*latest))
        found: dict[str, dict[str, int]] = {}
        with self._store.engine.begin() as connection:
            for detector, state, count in connection.execute(query.group_by(flags.c.detector, _state())):
                found.setdefault(detector, {})[state] = count
        return found

    def one(self, number: int) -> tuple[Flag, Reply]:
        """Return a flag and the reply with its conversation. Raises `UserError` if there is none with this number."""
        with self._store.engine.begin() as connection:
            flag = _one(connection, number)
            row = connection.execute(messages.select().where(messages.c.id == flag.message_id)).mappings().one()
            return flag, read_reply(connection, row)

    def mark(
        self,
        numbers: Sequence[int],
        state: str,
        reason: str | None = None,
        annotator: str | None = None,
        forbid: str | None = None,
    ) -> list[Flag]:
        """Say of flags that they are real, false, fixed, or open again, all of them or none; return them.

        A real one becomes an evaluation case, which is checked by the detector or, with `forbid`, by whether the reply
        contains that text. A fixed one remains a case; those of a false or open one are retired. Raises `UserError` for
        an unknown flag or state.
        """
        if state not in STATES:
            raise UserError(
                f"A flag is {', '.join(STATES[:-1])} or {STATES[-1]}; got '{state}'.{nearest(state, STATES)}"
            )
        if forbid is not None and (state != "real" or not forbid.strip()):
            raise UserError("A text that replies must not contain is not empty, and given with a flag that is real.")
        with self._writes.begin() as connection:
            for number in numbers:
                flag = _one(connection, number)
                row = {"flag_id": number, "state": state, "annotator": annotator, "created_at": now()}
                row["reason"] = None if reason is None else storable(reason)
                connection.execute(triage.insert().values(row))
                if state == "real":
                    message = messages.select().where(messages.c.id == flag.message_id)
                    said = connection.execute(message).mappings().one()
                    prompt = prompt_of(chain(connection, said["prompt_id"]), said)
                    check, bad = (FORBID, forbid) if forbid is not None else (flag.detector, said["content"])
                    add_case(connection, flag.message_id, number, check, prompt, storable(bad))
                else:
                    set_cases(connection, number, "fixed" if state == "fixed" else "retired")
            return [_one(connection, number) for number in numbers]


def _latest() -> tuple[Any, Any]:
    """Return what flags are joined with for their latest verdict, and the condition."""
    last = sql.select(sql.func.max(triage.c.id)).group_by(triage.c.flag_id)
    return triage, sql.and_(triage.c.flag_id == flags.c.id, triage.c.id.in_(last))


def _state() -> sql.ColumnElement[str]:
    """The state of a flag; without a parameter, because PostgreSQL groups by the same text only."""
    return sql.func.coalesce(triage.c.state, sql.literal_column("'open'")).label("state")


def _flags() -> sql.Select[Any]:
    own = [flags.c[name] for name in ("id", "message_id", "detector", "version", "detail", "created_at")]
    return sql.select(*own, _state(), triage.c.reason, triage.c.annotator).select_from(flags.outerjoin(*_latest()))


def _one(connection: sql.Connection, number: int) -> Flag:
    found = None
    if 0 < number <= _BIGGEST:
        found = connection.execute(_flags().where(flags.c.id == number)).mappings().one_or_none()
    if found is None:
        raise MissingError(f"There is no flag {number}; 'sayso flags list' shows those that are open.")
    return Flag(**found)


def read_reply(connection: sql.Connection, row: sql.RowMapping) -> Reply:
    """Return a stored reply as detectors take it."""
    prompt = prompt_of(chain(connection, row["prompt_id"]), row)
    return Reply(row["content"], prompt, row["finish"] or "stop", _next(connection, row), tools_of(prompt))


def _next(connection: sql.Connection, reply: sql.RowMapping) -> str | None:
    """Return what the user said to a reply: its child in the tree, or the next turn of a later request's prompt."""
    below = sql.select(messages.c.content).where(messages.c.parent_id == reply["id"], messages.c.role == "user")
    own, asked = turns.alias("own"), turns.alias("asked")
    quoted = sql.select(asked.c.content).join(own, asked.c.parent_id == own.c.id)
    quoted = quoted.where(own.c.parent_id == reply["prompt_id"], own.c.content == reply["content"])
    said = [*connection.scalars(below), *connection.scalars(quoted.where(asked.c.role == "user"))]
    return "\n".join(dict.fromkeys(said)) or None


def _answered(connection: sql.Connection, rows: Sequence[sql.RowMapping]) -> list[sql.RowMapping]:
    """Return the older replies that these messages answer, by the tree or by their prompts."""
    new = {row["id"] for row in rows}
    parents = [row["parent_id"] for row in rows if row["role"] == "user" and row["parent_id"] is not None]
    last = [row["prompt_id"] for row in rows if row["prompt_id"] is not None]
    asked, own, before = turns.alias("asked"), turns.alias("own"), messages.alias("before")
    quoted = sql.select(before.c.id).select_from(
        asked.join(own, own.c.id == asked.c.parent_id).join(
            before, sql.and_(before.c.prompt_id == own.c.parent_id, before.c.content == own.c.content)
        )
    )
    found = {*parents, *connection.scalars(quoted.where(asked.c.id.in_(last)))} - new
    query = messages.select().where(messages.c.id.in_(found), messages.c.prompt_id.is_not(None))
    return [*connection.execute(query.order_by(messages.c.id)).mappings()]
