"""Samples of what was asked and answered: takes a span of hours, returns the words of each conversation."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import measures, messages, turns
from sayso.judge.behaviour.repetition import units

Side = Literal["asked", "answered"]
_READ = 4_000  # characters of a text


@dataclass
class TalkWords:
    """The words of one conversation, and in how many texts they are."""

    words: Counter[str] = field(default_factory=Counter)
    texts: int = 0


def sample_words(store: Store, start: int, end: int, side: Side, most: int = 1_000) -> list[TalkWords]:
    """Return the words of the replies of some hours, or of what the user said right before, by conversation.

    Of more than `most` replies, every second, third ... one is taken, by its number.
    """
    within = sql.and_(measures.c.hour >= start, measures.c.hour < end, measures.c.shown == 1)
    with store.engine.begin() as connection:
        count = connection.scalar(sql.select(sql.func.count()).select_from(measures).where(within)) or 0
        every = max(1, -(-count // most))
        joined = measures.join(messages, messages.c.id == measures.c.message_id)
        text = messages.c.content
        if side == "asked":
            joined = joined.join(turns, sql.and_(turns.c.id == messages.c.prompt_id, turns.c.role == "user"))
            text = turns.c.content
        query = sql.select(messages.c.conversation_id, sql.func.substr(text, 1, _READ)).select_from(joined)
        query = query.where(within, measures.c.message_id % every == 0).order_by(measures.c.message_id)
        rows = connection.execute(query).all()
    found: dict[int, TalkWords] = {}
    for talk, said in rows:
        one = found.setdefault(talk, TalkWords())
        one.words.update(units(said))
        one.texts += 1
    return list(found.values())
