"""The store of conversations and their ratings.

A conversation is a tree of messages with one current branch. A rating is never changed, only superseded by a later one.
It is read with a snapshot of the prompt and the reply that it rates, which later messages and ratings do not change.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.database import open_engine
from sayso.feedback.migrations import MIGRATIONS, Migration
from sayso.feedback.prompts import chain, keep_prompt, prompt_of, turns_by_id
from sayso.feedback.ratings import MOST_POINTS, SOMEONE, Opinion, Rater, Rating, checked, read_opinions, read_ratings
from sayso.feedback.search import conversation_query
from sayso.feedback.signals import (
    Signal,
    SignalKind,
    note_complained,
    note_regenerated,
    note_signal,
    read_signals,
)
from sayso.feedback.storable import storable
from sayso.feedback.tables import conversations, messages, now, ratings, turns
from sayso.feedback.traces import Trace, keep_trace

TITLE_LENGTH = 60


class MissingError(UserError):
    """A conversation or message is not in the store."""


@dataclass(frozen=True)
class Generation:
    """How a reply was generated."""

    model: str
    fingerprint: str
    """Fingerprint of the model's weights; of a remote model, what its server told, or empty."""
    sampling: dict[str, Any]
    finish: str
    """Reason for the end: stop, length, or stopped (by the user); that of a remote model is as its server told it."""
    prompt_tokens: int | None
    """Number of tokens; None if the server of a remote model did not tell it."""
    completion_tokens: int | None
    seconds: float


@dataclass(frozen=True)
class StoredMessage:
    """One message of a tree; only a reply has `generation` and `prompt` (the turns that it answers).

    Messages of a branch are read without prompts, whose total size would be quadratic in the number of messages.
    """

    id: int
    conversation_id: int
    parent_id: int | None
    role: str
    content: str
    created_at: str
    prompt: list[dict[str, str]] | None = None
    generation: Generation | None = None


@dataclass(frozen=True)
class StoredConversation:
    """A conversation's entry in the list."""

    id: int
    title: str
    created_at: str
    updated_at: str


class Store:
    """A life's conversations and ratings, in SQLite (a path) or PostgreSQL (an address); thread-safe."""

    def __init__(self, where: str | Path, steps: tuple[Migration, ...] = MIGRATIONS) -> None:
        self.engine = open_engine(where, steps)
        self._writes = self.engine.execution_options(writes=True)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    # -- conversations -------------------------------------------------------------------------------------------

    def new_conversation(self, user: str | None = None) -> StoredConversation:
        """Create an empty conversation of a user; its first message becomes its title."""
        at = now()
        row = {"title": "", "user": user, "created_at": at, "updated_at": at}
        with self._writes.begin() as connection:
            made = connection.execute(conversations.insert().values(row).returning(conversations.c.id)).scalar_one()
        return StoredConversation(made, "", at, at)

    def conversations(self, limit: int = 200, text: str = "", after: int | None = None) -> list[StoredConversation]:
        """Return the latest conversations of the page that have a message for each word of `text`, newest first.

        `after` is the id of the last one of the list before.
        """
        with self.engine.begin() as connection:
            rows = connection.execute(conversation_query(text, after, limit)).mappings()
            return [StoredConversation(**row) for row in rows]

    def delete(self, conversation_id: int) -> None:
        """Delete a conversation with its messages and ratings permanently."""
        with self._writes.begin() as connection:
            same = conversations.c.id == _known(conversation_id, "conversation")
            deleted = connection.execute(conversations.delete().where(same))
        if not deleted.rowcount:
            raise MissingError(f"There is no conversation {conversation_id}.")

    def branch(self, conversation_id: int) -> list[StoredMessage]:
        """Return the messages of the current branch, first to last."""
        with self.engine.begin() as connection:
            return _branch(connection, _head(connection, conversation_id))

    # -- messages ------------------------------------------------------------------------------------------------

    def say(self, conversation_id: int, content: str) -> StoredMessage:
        """Add a user's message to the end of the current branch; the first message becomes the title.

        If it objects to the reply before it, that is a signal about the reply.
        """
        with self._writes.begin() as connection:
            head = _head(connection, conversation_id)
            content = storable(content)
            if head is None:
                update = conversations.update().where(conversations.c.id == conversation_id)
                connection.execute(update.values(title=title_of(content)))
            else:
                note_complained(connection, head, content)
            row = {"conversation_id": conversation_id, "parent_id": head, "role": "user", "content": content}
            return _add(connection, row)

    def reply(
        self,
        parent_id: int,
        content: str,
        prompt: list[dict[str, str]],
        generation: Generation,
        left_out: int = 0,
        trace: Trace | None = None,
        *,
        compared: bool = False,
    ) -> StoredMessage:
        """Add a reply to a user's message and make it current; a second reply to the same message is its sibling.

        `prompt` is the list of turns at the time of the request, of which the first `left_out` did not fit. Asking for
        a second reply is a signal about the one before it, unless they are made to be `compared`.
        """
        with self._writes.begin() as connection:
            parent = _message(connection, parent_id)
            made = {name: getattr(generation, name) for name in Generation.__dataclass_fields__}
            row: dict[str, Any] = {
                "conversation_id": parent.conversation_id,
                "parent_id": parent_id,
                "role": "assistant",
            }
            if not compared:
                note_regenerated(connection, parent_id)
            row["content"] = storable(content)
            row["prompt_id"] = keep_prompt(connection, parent.conversation_id, prompt)
            stored = _add(connection, row | {"left_out": left_out} | made)
            if trace is not None:
                keep_trace(connection, parent.conversation_id, stored.id, trace)
            return stored

    def message(self, message_id: int) -> StoredMessage:
        """Return one message. Raises `UserError` if it does not exist."""
        with self.engine.begin() as connection:
            return _message(connection, message_id)

    def prompt(self, message_id: int) -> list[dict[str, str]]:
        """Return the prompt for a reply to a user's message: its branch, with edited replies in their edited form."""
        with self.engine.begin() as connection:
            turns = _branch(connection, message_id)
            if turns[-1].role != "user":
                raise UserError(f"A reply must answer a user's message; message {message_id} is itself a reply.")
            known = read_opinions(connection, [turn.id for turn in turns])
        return [{"role": turn.role, "content": known.get(turn.id, Opinion()).edit or turn.content} for turn in turns]

    # -- ratings -------------------------------------------------------------------------------------------------

    def thumb(self, message_id: int, value: int, comment: str | None = None, by: Rater = SOMEONE) -> Rating:
        """Rate a reply as good (1) or bad (-1), or remove its rating (0)."""
        if value not in (1, -1, 0):
            raise UserError(f"A thumb must be 1 (up), -1 (down) or 0 (removed); got {value}.")
        return self._rate(message_id, {"kind": "thumb", "value": value, "comment": comment}, by)

    def points(self, message_id: int, value: int, comment: str | None = None, by: Rater = SOMEONE) -> Rating:
        """Rate a reply with 1 (worst) to 10 (best) points, or remove its points (0)."""
        if not 0 <= value <= MOST_POINTS:
            raise UserError(f"A rating must be from 1 to {MOST_POINTS} points, or 0 (removed); got {value}.")
        return self._rate(message_id, {"kind": "rating", "value": value, "comment": comment}, by)

    def edit(self, message_id: int, text: str, comment: str | None = None, by: Rater = SOMEONE) -> Rating:
        """Correct a reply; passing the reply's original text removes an earlier correction."""
        if not text.strip():
            raise UserError("The corrected reply must not be empty.")
        text = storable(text)
        same = text == self.message(message_id).content
        return self._rate(message_id, {"kind": "edit", "value": int(not same), "text": text, "comment": comment}, by)

    def tag(self, message_id: int, name: str, present: bool = True, by: Rater = SOMEONE) -> Rating:
        """Give a reply a tag such as `rude`, or remove it."""
        if not name.strip():
            raise UserError("A tag must not be empty.")
        return self._rate(message_id, {"kind": "tag", "value": int(present), "text": name.strip()}, by)

    def comment(self, message_id: int, text: str, by: Rater = SOMEONE) -> Rating:
        """Comment on a reply without rating it."""
        if not text.strip():
            raise UserError("A comment must not be empty.")
        return self._rate(message_id, {"kind": "comment", "value": 1, "comment": text}, by)

    def choose(
        self,
        chosen_id: int,
        rejected_id: int,
        *,
        better: bool = True,
        position: str | None = None,
        comment: str | None = None,
        by: Rater = SOMEONE,
    ) -> Rating:
        """Store which of two replies to the same message or prompt is better, and make it current.

        With `better=False` it is a tie, and `chosen_id` is only the reply to keep. `position` ("left" or "right") is
        the side of the chosen reply, so that a position bias can be distinguished from a preference.
        """
        row: dict[str, Any] = {"kind": "choice", "value": int(better), "rejected_id": rejected_id, "comment": comment}
        return self._rate(chosen_id, row | {"position": position}, by)

    def ratings(self) -> list[Rating]:
        """Return all ratings in the order of creation. Raises `UserError` for a damaged one."""
        with self.engine.begin() as connection:
            rated = sql.select(messages.c.conversation_id).join(ratings, ratings.c.message_id == messages.c.id)
            known = turns_by_id(connection, turns.select().where(turns.c.conversation_id.in_(rated)))
            return [checked(one) for one in read_ratings(connection, sql.true(), known)]

    def count_ratings(self) -> int:
        """Return the number of ratings."""
        with self.engine.begin() as connection:
            return connection.scalar(sql.select(sql.func.count()).select_from(ratings)) or 0

    def opinions(self, message_ids: Sequence[int]) -> dict[int, Opinion]:
        """Return the current ratings of those of these replies that were rated."""
        with self.engine.begin() as connection:
            return read_opinions(connection, message_ids)

    def note(self, message_id: int, kind: SignalKind) -> None:
        """Store what somebody did with a reply instead of rating it."""
        with self._writes.begin() as connection:
            if _message(connection, message_id).generation is None:
                raise UserError(f"Signals are about replies; message {message_id} is the user's.")
            note_signal(connection, message_id, kind)

    def signals(self, message_ids: Sequence[int]) -> list[Signal]:
        """Return the signals about some replies in the order of creation."""
        with self.engine.begin() as connection:
            return read_signals(connection, message_ids)

    def _rate(self, message_id: int, row: dict[str, Any], by: Rater) -> Rating:
        with self._writes.begin() as connection:
            reply = _message(connection, message_id)
            if reply.role != "assistant" or reply.generation is None:
                raise UserError(f"Only replies can be rated; message {message_id} is the user's.")
            if row["kind"] == "choice":
                _check_choice(reply, _message(connection, row["rejected_id"]))
                if reply.parent_id is not None:
                    update = conversations.update().where(conversations.c.id == reply.conversation_id)
                    connection.execute(update.values(head_id=reply.id))
            last = connection.scalar(sql.select(messages.c.prompt_id).where(messages.c.id == reply.id))
            full = storable(row | asdict(by)) | {"message_id": message_id, "created_at": now()}
            made = connection.execute(ratings.insert().values(full).returning(ratings.c.id)).scalar_one()
            return read_ratings(connection, ratings.c.id == made, chain(connection, last))[0]


def _check_choice(reply: StoredMessage, other: StoredMessage) -> None:
    """Raise `UserError` unless two replies answer the same message, or the same prompt if no page shows them."""
    same = reply.parent_id is not None and other.parent_id == reply.parent_id
    same = same or (other.conversation_id == reply.conversation_id and other.prompt == reply.prompt)
    if not same or other.id == reply.id or other.generation is None:
        raise UserError("A choice must be between two different replies to the same message.")


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with a text."""
    title = " ".join(text.split())
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"


def _add(connection: sql.Connection, row: dict[str, Any]) -> StoredMessage:
    """Insert a message and make it current."""
    at = now()
    made = connection.execute(messages.insert().values(row | {"created_at": at}).returning(messages.c.id)).scalar_one()
    update = conversations.update().where(conversations.c.id == row["conversation_id"])
    connection.execute(update.values(head_id=made, updated_at=at))
    return _message(connection, made)


def _head(connection: sql.Connection, conversation_id: int) -> int | None:
    query = sql.select(conversations.c.head_id).where(conversations.c.id == _known(conversation_id, "conversation"))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise MissingError(f"There is no conversation {conversation_id}.")
    head: int | None = row[0]
    return head


def _message(connection: sql.Connection, message_id: int) -> StoredMessage:
    query = messages.select().where(messages.c.id == _known(message_id, "message"))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise MissingError(f"There is no message {message_id}.")
    prompt = prompt_of(chain(connection, row["prompt_id"]), row) if row["prompt_id"] else None
    return replace(_as_message(row), prompt=prompt)


def _known(number: int, what: str) -> int:
    """Return a row number. Raises `UserError` for one beyond 32 bits, on which a database would fail."""
    if not 0 < number < 2**31:
        raise MissingError(f"There is no {what} {str(number)[:20]}.")
    return number


def _branch(connection: sql.Connection, last: int | None) -> list[StoredMessage]:
    """Return the messages from the first to `last`, without their prompts, by one query over the tree."""
    if last is not None:
        _known(last, "message")
    up = sql.select(messages.c.id, messages.c.parent_id).where(messages.c.id == last).cte("up", recursive=True)
    up = up.union_all(sql.select(messages.c.id, messages.c.parent_id).join(up, messages.c.id == up.c.parent_id))
    query = messages.select().where(messages.c.id.in_(sql.select(up.c.id))).order_by(messages.c.id)
    found = [_as_message(row) for row in connection.execute(query).mappings()]
    if last is not None and not found:
        raise MissingError(f"There is no message {last}.")
    return found


def _as_message(row: sql.RowMapping) -> StoredMessage:
    names = ("id", "conversation_id", "parent_id", "role", "content", "created_at")
    own = {name: row[name] for name in names}
    made = None
    if row["model"] is not None:
        made = Generation(**{name: row[name] for name in Generation.__dataclass_fields__})
    return StoredMessage(**own, generation=made)
