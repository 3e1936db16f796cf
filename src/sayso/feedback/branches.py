"""Branches of a conversation's tree: other versions of a message, and which branch is current.

Versions of a message are its siblings of the same role: replies to the same message, or a user's message that was
edited. Messages never change; an edited message is a new one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.signals import note_complained
from sayso.feedback.storable import storable
from sayso.feedback.store import Store, StoredMessage, title_of
from sayso.feedback.tables import conversations, generations, messages, now


def versions_of(store: Store, branch: Sequence[StoredMessage]) -> Mapping[int, list[int]]:
    """Return the ids of all versions of each message of a branch, oldest first."""
    if not branch:
        return {}
    parents = [message.parent_id for message in branch if message.parent_id is not None]
    query = sql.select(messages.c.id, messages.c.parent_id, messages.c.role)
    of_branch = messages.c.parent_id.in_(parents)
    first = sql.and_(messages.c.conversation_id == branch[0].conversation_id, messages.c.parent_id.is_(None))
    with store.engine.begin() as connection:
        rows = connection.execute(query.where(sql.or_(of_branch, first)).order_by(messages.c.id)).all()
    return {
        message.id: [row.id for row in rows if (row.parent_id, row.role) == (message.parent_id, message.role)]
        for message in branch
    }


def first_seconds(store: Store, message_ids: Sequence[int]) -> dict[int, float]:
    """Return the seconds from the request to the first token of each of some replies; without those not known."""
    query = sql.select(generations.c.message_id, generations.c.first_seconds)
    known = generations.c.message_id.in_(message_ids), generations.c.first_seconds.is_not(None)
    with store.engine.begin() as connection:
        return {row.message_id: row.first_seconds for row in connection.execute(query.where(*known))}


def show_version(store: Store, message_id: int) -> list[StoredMessage]:
    """Make the branch through a message current, down to its latest reply; return the branch.

    Raises `MissingError` if the message does not exist.
    """
    message = store.message(message_id)
    with store.engine.execution_options(writes=True).begin() as connection:
        last = message.id
        while (below := connection.scalar(_latest_child(last))) is not None:
            last = below
        update = conversations.update().where(conversations.c.id == message.conversation_id)
        connection.execute(update.values(head_id=last))
    return store.branch(message.conversation_id)


def revise(store: Store, message_id: int, content: str) -> StoredMessage:
    """Add another version of a user's message and make it current; a first message also renames the conversation.

    If it objects to the reply before it, that is a signal about the reply, as for a new message.
    Raises `UserError` for a reply, which is corrected by a rating, and `MissingError` for an unknown message.
    """
    message = store.message(message_id)
    if message.role != "user":
        raise UserError(f"Only a message of the user can be edited; message {message_id} is a reply.")
    content, at = storable(content), now()
    row = {"conversation_id": message.conversation_id, "parent_id": message.parent_id, "role": "user"}
    row |= {"content": content, "created_at": at}
    with store.engine.execution_options(writes=True).begin() as connection:
        made = connection.execute(messages.insert().values(row).returning(messages.c.id)).scalar_one()
        changed: dict[str, Any] = {"head_id": made, "updated_at": at}
        if message.parent_id is None:
            changed["title"] = title_of(content)
        else:
            note_complained(connection, message.parent_id, content)
        connection.execute(conversations.update().where(conversations.c.id == message.conversation_id).values(changed))
    return store.message(made)


def _latest_child(message_id: int) -> sql.Select[Any]:
    return sql.select(messages.c.id).where(messages.c.parent_id == message_id).order_by(messages.c.id.desc()).limit(1)
