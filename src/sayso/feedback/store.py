"""The store of conversations and their ratings.

A conversation is a tree of messages with one current branch. A rating is never changed, only superseded by a later one.
It is read with a snapshot of the prompt and the reply that it rates, which later messages and ratings do not change.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.database import open_engine
from sayso.feedback.migrations import MIGRATIONS, Migration
from sayso.feedback.prompts import Turns, chain, keep_prompt, prompt_of, turns_by_id
from sayso.feedback.tables import conversations, messages, now, ratings, turns

TITLE_LENGTH = 60
_JUDGED = {"reply": "content"} | {name: name for name in ("model", "fingerprint", "sampling", "finish")}
"""Fields of a reply in a rating's snapshot, and their columns."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL accepts no NUL, UTF-8 no lone surrogate


class MissingError(UserError):
    """A conversation or message is not in the store."""


@dataclass(frozen=True)
class Generation:
    """How a reply was generated."""

    model: str
    fingerprint: str
    """Fingerprint of the model's weights."""
    sampling: dict[str, Any]
    finish: str
    """Reason for the end: stop, length, or stopped (by the user)."""
    prompt_tokens: int
    completion_tokens: int
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


@dataclass(frozen=True)
class Rating:
    """One rating.

    `snapshot` has prompt, reply, model, fingerprint, sampling and finish, and for a choice also rejected and position.
    """

    id: int
    message_id: int
    kind: str
    value: int
    text: str | None
    rejected_id: int | None
    comment: str | None
    created_at: str
    snapshot: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Opinion:
    """Current ratings of a reply: the latest thumb (1, -1 or 0) and the latest edit (None without one)."""

    thumb: int = 0
    edit: str | None = None


class Store:
    """A life's conversations and ratings, in SQLite (a path) or PostgreSQL (an address); thread-safe."""

    def __init__(self, where: str | Path, steps: tuple[Migration, ...] = MIGRATIONS) -> None:
        self.engine = open_engine(where, steps)
        self._writes = self.engine.execution_options(writes=True)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    # -- conversations -------------------------------------------------------------------------------------------

    def new_conversation(self) -> StoredConversation:
        """Create an empty conversation; its first message becomes its title."""
        at = now()
        row = {"title": "", "created_at": at, "updated_at": at}
        with self._writes.begin() as connection:
            made = connection.execute(conversations.insert().values(row).returning(conversations.c.id)).scalar_one()
        return StoredConversation(made, "", at, at)

    def conversations(self, limit: int = 200) -> list[StoredConversation]:
        """Return the latest conversations that have a message, newest first."""
        query = sql.select(*(conversations.c[name] for name in ("id", "title", "created_at", "updated_at")))
        query = query.where(conversations.c.head_id.is_not(None))
        query = query.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit)
        with self.engine.begin() as connection:
            return [StoredConversation(*row) for row in connection.execute(query)]

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
        """Add a user's message to the end of the current branch; the first message becomes the title."""
        with self._writes.begin() as connection:
            head = _head(connection, conversation_id)
            content = UNSTORABLE.sub("\ufffd", content)
            if head is None:
                title = " ".join(content.split())
                title = title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"
                update = conversations.update().where(conversations.c.id == conversation_id)
                connection.execute(update.values(title=title))
            row = {"conversation_id": conversation_id, "parent_id": head, "role": "user", "content": content}
            return _add(connection, row)

    def reply(
        self, parent_id: int, content: str, prompt: list[dict[str, str]], generation: Generation, left_out: int = 0
    ) -> StoredMessage:
        """Add a reply to a user's message and make it current; a second reply to the same message is its sibling.

        `prompt` is the list of turns at the time of the request, of which the first `left_out` did not fit.
        """
        with self._writes.begin() as connection:
            parent = _message(connection, parent_id)
            made = {name: getattr(generation, name) for name in Generation.__dataclass_fields__}
            row: dict[str, Any] = {
                "conversation_id": parent.conversation_id,
                "parent_id": parent_id,
                "role": "assistant",
            }
            row["content"] = UNSTORABLE.sub("\ufffd", content)
            clean = [{name: UNSTORABLE.sub("\ufffd", turn[name]) for name in ("role", "content")} for turn in prompt]
            row["prompt_id"] = keep_prompt(connection, parent.conversation_id, clean)
            return _add(connection, row | {"left_out": left_out} | made)

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
            known = _opinions(connection, [turn.id for turn in turns])
        return [{"role": turn.role, "content": known.get(turn.id, Opinion()).edit or turn.content} for turn in turns]

    # -- ratings -------------------------------------------------------------------------------------------------

    def thumb(self, message_id: int, value: int, comment: str | None = None) -> Rating:
        """Rate a reply as good (1) or bad (-1), or remove its rating (0)."""
        if value not in (1, -1, 0):
            raise UserError(f"A thumb must be 1 (up), -1 (down) or 0 (removed); got {value}.")
        return self._rate(message_id, {"kind": "thumb", "value": value, "comment": comment})

    def edit(self, message_id: int, text: str, comment: str | None = None) -> Rating:
        """Correct a reply; passing the reply's original text removes an earlier correction."""
        if not text.strip():
            raise UserError("The corrected reply must not be empty.")
        text = UNSTORABLE.sub("\ufffd", text)
        same = text == self.message(message_id).content
        return self._rate(message_id, {"kind": "edit", "value": int(not same), "text": text, "comment": comment})

    def choose(
        self,
        chosen_id: int,
        rejected_id: int,
        *,
        better: bool = True,
        position: str | None = None,
        comment: str | None = None,
    ) -> Rating:
        """Store which of two replies to the same message is better, and make it current.

        With `better=False` there is no preference, and `chosen_id` is only the reply to keep. `position` ("left" or
        "right") is the side of the chosen reply, so that a position bias can be distinguished from a preference.
        """
        row: dict[str, Any] = {"kind": "choice", "value": int(better), "rejected_id": rejected_id, "comment": comment}
        return self._rate(chosen_id, row, position)

    def ratings(self) -> list[Rating]:
        """Return all ratings in the order of creation. Raises `UserError` for a damaged one."""
        with self.engine.begin() as connection:
            return [_checked(one) for one in _ratings(connection, sql.true(), turns_by_id(connection, turns.select()))]

    def count_ratings(self) -> int:
        """Return the number of ratings."""
        with self.engine.begin() as connection:
            return connection.scalar(sql.select(sql.func.count()).select_from(ratings)) or 0

    def opinions(self, message_ids: Sequence[int]) -> dict[int, Opinion]:
        """Return the current ratings of those of these replies that were rated."""
        with self.engine.begin() as connection:
            return _opinions(connection, message_ids)

    def _rate(self, message_id: int, row: dict[str, Any], position: str | None = None) -> Rating:
        with self._writes.begin() as connection:
            reply = _message(connection, message_id)
            if reply.role != "assistant" or reply.generation is None:
                raise UserError(f"Only replies can be rated; message {message_id} is the user's.")
            if row["kind"] == "choice":
                other = _message(connection, row["rejected_id"])
                if other.parent_id != reply.parent_id or other.id == reply.id or other.generation is None:
                    raise UserError("A choice must be between two different replies to the same message.")
                update = conversations.update().where(conversations.c.id == reply.conversation_id)
                connection.execute(update.values(head_id=reply.id))
            last = connection.scalar(sql.select(messages.c.prompt_id).where(messages.c.id == reply.id))
            full = row | {"message_id": message_id, "position": position, "created_at": now()}
            made = connection.execute(ratings.insert().values(full).returning(ratings.c.id)).scalar_one()
            return _ratings(connection, ratings.c.id == made, chain(connection, last))[0]


def _checked(rating: Rating) -> Rating:
    """Return a rating read from the database. Raises `UserError` for one that `Store` cannot have written."""
    snapshot = rating.snapshot if isinstance(rating.snapshot, dict) else {}
    texts = [snapshot.get(name) for name in ("reply", "model", "fingerprint", "finish")]
    turns = snapshot.get("prompt")
    valid = isinstance(turns, list) and all(isinstance(turn, dict) and {"role", "content"} <= {*turn} for turn in turns)
    if rating.kind == "choice":
        rejected = snapshot.get("rejected")
        texts.append(rejected.get("reply") if isinstance(rejected, dict) else None)
    elif rating.kind == "edit":
        texts.append(rating.text)
    elif rating.kind != "thumb":
        valid = False
    if not valid or not all(isinstance(text, str) for text in texts) or not isinstance(rating.value, int):
        raise UserError(f"The store is damaged: rating {rating.id} is invalid; restore it from a backup.")
    return rating


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


def _ratings(connection: sql.Connection, condition: sql.ColumnElement[bool], known: Turns) -> list[Rating]:
    """Return ratings in the order of creation, with snapshots; `known` has the turns of their prompts."""
    reply, other = messages.alias("reply"), messages.alias("other")
    joined = ratings.join(reply, reply.c.id == ratings.c.message_id)
    joined = joined.outerjoin(other, other.c.id == ratings.c.rejected_id)
    own = [ratings.c[name] for name in (*Rating.__dataclass_fields__, "position") if name != "snapshot"]
    judged = [table.c[name].label(f"{table.name}_{name}") for table in (reply, other) for name in _JUDGED.values()]
    query = sql.select(*own, reply.c.prompt_id, reply.c.left_out, *judged).select_from(joined).where(condition)
    found = []
    for row in connection.execute(query.order_by(ratings.c.id)).mappings():
        snapshot: dict[str, Any] = {"prompt": prompt_of(known, row)}
        snapshot |= {name: row[f"reply_{column}"] for name, column in _JUDGED.items()}
        if row["kind"] == "choice":
            snapshot["rejected"] = {name: row[f"other_{column}"] for name, column in _JUDGED.items()}
            snapshot["position"] = row["position"]
        fields = {name: row[name] for name in Rating.__dataclass_fields__ if name != "snapshot"}
        found.append(Rating(**fields, snapshot=snapshot))
    return found


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


def _opinions(connection: sql.Connection, message_ids: Sequence[int]) -> dict[int, Opinion]:
    query = sql.select(ratings.c.message_id, ratings.c.kind, ratings.c.value, ratings.c.text)
    query = query.where(ratings.c.message_id.in_(message_ids), ratings.c.kind != "choice").order_by(ratings.c.id)
    found: dict[int, Opinion] = {}
    for message_id, kind, value, text in connection.execute(query):
        old = found.get(message_id, Opinion())
        edit = text if value else None
        found[message_id] = Opinion(value, old.edit) if kind == "thumb" else Opinion(old.thumb, edit)
    return found
