"""One reply as it can be looked at but not continued: what it answers, its text, and what is known of it."""

from dataclasses import asdict
from typing import Any

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.flags import Flags
from sayso.feedback.store import Store
from sayso.feedback.tables import conversations, generations, ratings
from sayso.serve.turns import reply_html

TURNS, LETTERS = 40, 20_000  # the last turns of a prompt, and the first characters of each


def seen_reply(store: Store, number: int) -> dict[str, Any]:
    """Return a reply. Raises `UserError` if there is none with this number."""
    reply = store.message(number)
    made = reply.generation
    if made is None or reply.prompt is None:
        raise UserError(f"Only replies can be looked at here; message {number} is the user's.")
    turns = [
        {"role": str(turn["role"]), "text": str(turn.get("content") or "")[:LETTERS]} for turn in reply.prompt[-TURNS:]
    ]
    facts = {name: getattr(made, name) for name in ("model", "finish", "prompt_tokens", "completion_tokens", "seconds")}
    return {
        "id": reply.id,
        "conversation_id": reply.conversation_id,
        "created_at": reply.created_at,
        "left_out": max(0, len(reply.prompt) - TURNS),
        "turns": turns,
        "html": reply_html(reply.content),
        "signals": [one.kind for one in store.signals([number])],
        "flags": [asdict(flag) for flag in Flags(store).of_replies([number])],
        **facts,
        **_more(store, reply.conversation_id, number),
    }


def _more(store: Store, talk: int, number: int) -> dict[str, Any]:
    """Return whether the chat can show the conversation, how the reply was asked for, and how it was rated."""
    asked = sql.select(*(generations.c[name] for name in ("route", "alias", "request", "first_seconds")))
    rated = sql.select(*(ratings.c[name] for name in ("kind", "value", "text", "comment", "annotator", "source")))
    with store.engine.begin() as connection:
        head = connection.scalar(sql.select(conversations.c.head_id).where(conversations.c.id == talk))
        found = connection.execute(asked.where(generations.c.message_id == number)).mappings().one_or_none()
        given = connection.execute(rated.where(ratings.c.message_id == number).order_by(ratings.c.id).limit(100))
        opinions = [dict(row) for row in given.mappings()]
    on_page = head is not None and (found is None or found["route"] == "page")
    none = dict.fromkeys(("route", "alias", "request", "first_seconds"))
    return {"on_page": on_page, "ratings": opinions, **(dict(found) if found else none)}
