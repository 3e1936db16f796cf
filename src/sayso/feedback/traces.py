"""Traces of replies: who asked, and the tokens that the model read and wrote.

A prompt's ids are stored as those that follow what an earlier reply of the conversation read and wrote, so that the
size of a conversation is linear in its length.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sql

from sayso.feedback.tables import generations, messages

_RECENT = 4  # earlier replies that a prompt may continue; more than one, because replies have siblings
_STORED = ("route", "request", "key_id", "alias", "template", "sample", "first_seconds", "canary")
"""Fields of a trace that are columns of the same name."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What is known of a generated reply beyond its text."""

    route: str
    """The page, or the route of the API."""
    request: str | None = None
    """Id of the request."""
    key_id: int | None = None
    alias: str | None = None
    """The name by which the model was asked for, if it was an alias."""
    template: str | None = None
    """Hash of the chat template."""
    sample: int = 0
    """Index of the reply among those to the same prompt; with the seed it determines the text."""
    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    """The sampled ids, including the one that ended the reply."""
    logprobs: Sequence[float]
    """Natural log-probability of each of them under the model itself, before any setting applied."""
    first_seconds: float | None = None
    """From the request to the first token."""
    canary: str | None = None
    """What identifies its conversation in the log of a canary, if its request to the API took part."""


def keep_trace(connection: sql.Connection, conversation_id: int, message_id: int, trace: Trace) -> None:
    """Store the trace of a reply."""
    prompt = list(trace.prompt_ids)
    base, shared = _closest(connection, conversation_id, prompt)
    row = {name: getattr(trace, name) for name in _STORED}
    row |= {"message_id": message_id, "base_id": base, "shared": shared, "prompt_ids": prompt[shared:]}
    row |= {"completion_ids": list(trace.completion_ids), "logprobs": [_number(one) for one in trace.logprobs]}
    connection.execute(generations.insert().values(row))


def read_trace(connection: sql.Connection, message_id: int) -> Trace | None:
    """Return the trace of a reply; None if it has none."""
    known = _with_bases(connection, [message_id])
    if message_id not in known:
        return None
    row = known[message_id]
    own = {name: row[name] for name in _STORED}
    logprobs = [-math.inf if one is None else one for one in row["logprobs"]]
    prompt = _prompt_ids(known, message_id)
    return Trace(**own, prompt_ids=prompt, completion_ids=row["completion_ids"], logprobs=logprobs)


def _closest(connection: sql.Connection, conversation_id: int, prompt: list[int]) -> tuple[int | None, int]:
    """Return the recent reply whose tokens a prompt continues for longest, and how many ids they share."""
    query = sql.select(generations.c.message_id).join(messages, messages.c.id == generations.c.message_id)
    query = query.where(messages.c.conversation_id == conversation_id)
    recent = connection.scalars(query.order_by(messages.c.id.desc()).limit(_RECENT)).all()
    known = _with_bases(connection, recent)
    best: tuple[int | None, int] = None, 0
    for one in recent:
        shared = _common(prompt, [*_prompt_ids(known, one), *known[one]["completion_ids"]])
        if shared > best[1]:
            best = one, shared
    return best


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many ids two sequences have in common at their beginning."""
    return next(
        (place for place, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b))
    )


def _with_bases(connection: sql.Connection, message_ids: Sequence[int]) -> dict[int, sql.RowMapping]:
    """Return the rows of some replies, and of all that their prompts continue, by message."""
    own = sql.select(generations.c.message_id, generations.c.base_id)
    up = own.where(generations.c.message_id.in_(message_ids)).cte("bases", recursive=True)
    up = up.union(own.join(up, generations.c.message_id == up.c.base_id))
    query = generations.select().where(generations.c.message_id.in_(sql.select(up.c.message_id)))
    return {row["message_id"]: row for row in connection.execute(query).mappings()}


def _prompt_ids(known: Mapping[int, sql.RowMapping], message_id: int) -> list[int]:
    """Return the ids of a reply's prompt."""
    chain = list[sql.RowMapping]()
    one: int | None = message_id
    while one is not None:
        chain.append(known[one])
        one = known[one]["base_id"]
    ids, read = list[int](), list[int]()
    for row in reversed(chain):
        ids = [*read[: row["shared"]], *row["prompt_ids"]]
        read = [*ids, *row["completion_ids"]]
    return ids


def _number(value: float) -> float | None:
    """Return a log-probability as JSON has it, which has no infinity."""
    return value if math.isfinite(value) else None
