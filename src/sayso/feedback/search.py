"""Search over conversations: takes words, returns the conversations of the page in which all of them occur."""

import sqlalchemy as sql

from sayso.feedback.store import Store, StoredConversation
from sayso.feedback.tables import conversations, messages

WORDS = 8  # at most; each is a condition of the query


def find_conversations(store: Store, text: str, limit: int = 200) -> list[StoredConversation]:
    """Return the conversations with a message for each word of `text`, latest first; upper and lower case are the same.

    Characters that are special to the database's patterns stand for themselves.
    """
    query = sql.select(*(conversations.c[name] for name in ("id", "title", "created_at", "updated_at")))
    query = query.where(conversations.c.head_id.is_not(None))
    for word in text.split()[:WORDS]:
        pattern = "%" + word.translate({ord(char): f"\\{char}" for char in "\\%_"}) + "%"
        said = messages.c.content.ilike(pattern, escape="\\")
        query = query.where(sql.exists().where(messages.c.conversation_id == conversations.c.id, said))
    query = query.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit)
    with store.engine.begin() as connection:
        return [StoredConversation(*row) for row in connection.execute(query)]
