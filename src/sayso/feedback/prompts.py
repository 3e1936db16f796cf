"""The prompts of replies in a store, each kept once.

A prompt is a chain of turns, from the last to the first; the prompts of a conversation share their common beginning.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from sayso.feedback.storable import storable
from sayso.feedback.tables import turns

Turns = Mapping[int, tuple[int | None, dict[str, Any]]]


def keep_prompt(connection: sql.Connection, conversation_id: int, prompt: Sequence[Mapping[str, Any]]) -> int:
    """Store the turns of a prompt that its conversation does not have yet; return the id of the last turn.

    Fields of a turn other than its role and content are stored as JSON. What no database can store becomes U+FFFD.
    """
    assert prompt
    prompt, digests = [{"content": "", **storable(turn)} for turn in prompt], [""]
    for turn in prompt:
        text = f"{digests[-1]}\0{turn['role']}\0{turn['content']}"
        if extra := _extra(turn):
            text += f"\0{json.dumps(extra, sort_keys=True)}"
        digests.append(hashlib.sha256(text.encode()).hexdigest())
    kept, last = len(prompt), None
    while kept:
        query = sql.select(turns.c.id).where(turns.c.conversation_id == conversation_id)
        last = connection.scalar(query.where(turns.c.digest == digests[kept]).limit(1))
        if last is not None:
            break
        kept -= 1
    for turn, digest in zip(prompt[kept:], digests[kept + 1 :], strict=True):
        row = {"conversation_id": conversation_id, "parent_id": last, "digest": digest}
        row |= {"role": turn["role"], "content": turn["content"], "extra": _extra(turn) or None}
        last = connection.execute(turns.insert().values(row).returning(turns.c.id)).scalar_one()
    assert last is not None
    return last


def turns_by_id(connection: sql.Connection, query: sql.Select[Any]) -> Turns:
    """Return turns of prompts by id, each with the id of the previous one."""
    columns = (turns.c[name] for name in ("id", "parent_id", "role", "content", "extra"))
    found = connection.execute(query.with_only_columns(*columns))
    return {
        one: (parent, {"role": role, "content": content, **(extra or {})})
        for one, parent, role, content, extra in found
    }


def chain(connection: sql.Connection, last: int | None) -> Turns:
    """Return the turns of one prompt, which ends with `last`."""
    up = sql.select(turns.c.id, turns.c.parent_id).where(turns.c.id == last).cte("chain", recursive=True)
    up = up.union_all(sql.select(turns.c.id, turns.c.parent_id).join(up, turns.c.id == up.c.parent_id))
    return turns_by_id(connection, turns.select().where(turns.c.id.in_(sql.select(up.c.id))))


def prompt_of(known: Turns, reply: sql.RowMapping) -> list[dict[str, Any]]:
    """Return the prompt of a reply."""
    found, last = list[dict[str, Any]](), reply["prompt_id"]
    while last is not None:
        last, turn = known[last]
        found.append(turn)
    return found[::-1][reply["left_out"] :]


def _extra(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in turn.items() if name not in ("role", "content")}
