"""A conversation as it is read: takes the number of its last reply, returns the turns that lead to it.

Of the page, these are the messages above it in the tree. Of the API, they are the turns of its prompt, in which earlier
recorded replies are recognized by what they answered and by their text.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.prompts import chain
from sayso.feedback.tables import candidates, conversations, messages

_LONGEST = 2000  # turns of a line; earlier ones are left out


@dataclass(frozen=True)
class Turn:
    """One turn; only a stored reply has `message_id` and `model`."""

    role: str
    content: str
    message_id: int | None = None
    model: str | None = None
    finish: str | None = None
    extra: dict[str, Any] | None = None
    """The other fields of a turn of a prompt, such as its tool calls."""


def last_reply(connection: sql.Connection, conversation_id: int) -> int | None:
    """Return the reply that ends a conversation now; None if it has none.

    On the page, this is the last one of the current branch; of the API, the newest that somebody has seen.
    """
    talk = connection.execute(conversations.select().where(conversations.c.id == conversation_id)).mappings().one()
    if talk["head_id"] is not None:
        head = messages.select().where(messages.c.id == talk["head_id"])
        row = connection.execute(head).mappings().one()
        last: int | None = row["id"] if row["model"] is not None else row["parent_id"]
        return last
    unseen = sql.select(candidates.c.message_id).where(candidates.c.purpose == "shadow")
    query = sql.select(sql.func.max(messages.c.id)).where(messages.c.conversation_id == conversation_id)
    return connection.scalar(query.where(messages.c.model.is_not(None), messages.c.id.not_in(unseen)))


def line_of(connection: sql.Connection, message_id: int) -> list[Turn]:
    """Return the turns up to a reply, and what the user said to it if the page has that."""
    row = connection.execute(messages.select().where(messages.c.id == message_id)).mappings().one()
    if row["parent_id"] is None:
        return [*_prompt(connection, row), _turn(row)][-_LONGEST:]
    up = sql.select(messages.c.id, messages.c.parent_id).where(messages.c.id == message_id).cte("up", recursive=True)
    up = up.union_all(sql.select(messages.c.id, messages.c.parent_id).join(up, messages.c.id == up.c.parent_id))
    above = messages.select().where(messages.c.id.in_(sql.select(up.c.id))).order_by(messages.c.id)
    said = messages.select().where(messages.c.parent_id == message_id, messages.c.role == "user")
    rows = [*connection.execute(above).mappings()]
    rows += connection.execute(said.order_by(messages.c.id.desc()).limit(1)).mappings()
    return [_turn(one) for one in rows][-_LONGEST:]


def _turn(row: sql.RowMapping) -> Turn:
    if row["model"] is None:
        return Turn(row["role"], row["content"])
    return Turn(row["role"], row["content"], row["id"], row["model"], row["finish"])


def _prompt(connection: sql.Connection, reply: sql.RowMapping) -> list[Turn]:
    """Return the turns of a prompt, those of recorded replies as these."""
    known = chain(connection, reply["prompt_id"])
    query = messages.select().where(messages.c.conversation_id == reply["conversation_id"])
    query = query.where(messages.c.id < reply["id"], messages.c.prompt_id.in_(known)).order_by(messages.c.id)
    answers: dict[int, list[sql.RowMapping]] = {}
    for row in connection.execute(query).mappings():
        answers.setdefault(row["prompt_id"], []).append(row)
    found, last = list[Turn](), reply["prompt_id"]
    while last is not None:
        last, turn = known[last]
        extra = {name: value for name, value in turn.items() if name not in ("role", "content")}
        before = answers.get(last, []) if last is not None and turn["role"] == "assistant" else []
        same = [one for one in before if _says(one, turn["content"])]
        found.append(_turn(same[-1]) if same else Turn(turn["role"], turn["content"], extra=extra or None))
    return found[::-1][reply["left_out"] or 0 :]


def _says(reply: sql.RowMapping, text: str) -> bool:
    """Whether a turn quotes a reply; a client may omit the reasoning."""
    return bool(text.strip()) and str(reply["content"]).strip().endswith(text.strip())
