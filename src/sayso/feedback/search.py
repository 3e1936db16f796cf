"""The list of conversations: takes words and where to go on, returns those of the page in which all of them occur."""

from typing import Any

import sqlalchemy as sql

from sayso.feedback.tables import conversations, messages

WORDS = 8  # at most; each is a condition of the query


def conversation_query(text: str, after: int | None, limit: int) -> sql.Select[Any]:
    """Return the query for at most `limit` conversations with a message for each word of `text`, latest first.

    Upper and lower case are the same; characters that are special to the database's patterns stand for themselves.
    `after` is the id of the last one seen. Columns: id, title, created_at, updated_at.
    """
    listed = conversations.c
    query = sql.select(listed.id, listed.title, listed.created_at, listed.updated_at).where(listed.head_id.is_not(None))
    for word in text.split()[:WORDS]:
        pattern = "%" + word.translate({ord(char): f"\\{char}" for char in "\\%_"}) + "%"
        said = messages.c.content.ilike(pattern, escape="\\")
        query = query.where(sql.exists().where(messages.c.conversation_id == listed.id, said))
    if after is not None:
        last = conversations.alias("last")
        place = sql.select(last.c.updated_at, last.c.id).where(last.c.id == after).scalar_subquery()
        query = query.where(sql.tuple_(listed.updated_at, listed.id) < place)
    return query.order_by(listed.updated_at.desc(), listed.id.desc()).limit(limit)
