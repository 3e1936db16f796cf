"""Evaluation cases: confirmed misbehaviour, which every candidate has to answer before it is promoted.

A case has its own copy of the prompt and of the bad reply. A reply to it is checked by the detector that flagged it.
What a detector reads in the user's next turn cannot be seen in a new reply: there, the same words again are bad.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.detectors.detector import Detector, Reply
from sayso.feedback.prompts import chain, prompt_of
from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import cases, messages, now
from sayso.judge.answers.text import normalized
from sayso.reply.listed import is_chat, tools_of

CASES = "cases"
"""Name of the task under which answers to cases are kept; whether they are good is decided when they are read."""
FORBID = "forbid"
"""In place of a detector's name: the reply of the case must not be contained in another one."""
SAME = "same"
"""In place of a detector's name: the reply of the case must not be given again, in whatever case and punctuation."""


@dataclass(frozen=True)
class Case:
    """A prompt that was answered badly."""

    id: int
    detector: str
    prompt: list[dict[str, str]]
    reply: str
    """The bad one."""
    state: str
    """open, fixed or retired; only a retired one is not asked."""
    digest: str = ""
    """Of detector, prompt and reply."""

    @property
    def held_out(self) -> bool:
        """Whether nothing about its question may be trained on; so it is with every second case."""
        return int(self.digest[:8] or "1", 16) % 2 == 0

    def is_bad(self, text: str, finish: str, detectors: Mapping[str, Detector]) -> bool | None:
        """Return whether a new reply is bad too; None if its detector is not among these."""
        if self.detector == FORBID:
            return self.reply.casefold() in text.casefold()
        if self.detector == SAME:
            return normalized(text) == normalized(self.reply)
        detector = detectors.get(self.detector)
        if detector is None:
            return None
        if detector.late:
            return normalized(text) == normalized(self.reply)
        return detector.found(Reply(text, self.prompt, finish, None, tools_of(self.prompt))) is not None


def cases_of(store: Store) -> list[Case]:
    """Return the cases that are asked, oldest first."""
    query = sql.select(*(cases.c[name] for name in Case.__dataclass_fields__)).where(cases.c.state != "retired")
    with store.engine.begin() as connection:
        return [Case(**row) for row in connection.execute(query.order_by(cases.c.id)).mappings()]


def add_case(
    connection: sql.Connection, message_id: int, flag_id: int | None, detector: str, forbid: str | None = None
) -> bool:
    """Make a stored reply a case, or open its case again; return False for a raw prompt, which is no case.

    It is checked by a detector (or `SAME`), or, with `forbid`, by whether the reply contains that text.
    """
    said = connection.execute(messages.select().where(messages.c.id == message_id)).mappings().one()
    turns: Any = [dict(turn) for turn in prompt_of(chain(connection, said["prompt_id"]), said)]
    if not is_chat(turns):
        return False
    check, reply = (FORBID, storable(forbid)) if forbid is not None else (detector, said["content"])
    text = json.dumps([check, turns, reply], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if connection.scalar(sql.select(cases.c.id).where(cases.c.digest == digest)) is not None:
        connection.execute(cases.update().where(cases.c.digest == digest).values(state="open"))
        return True
    row = {"message_id": message_id, "flag_id": flag_id, "digest": digest, "detector": check, "prompt": turns}
    connection.execute(cases.insert().values({**row, "reply": reply, "state": "open", "created_at": now()}))
    return True


def set_cases(connection: sql.Connection, flag_id: int, state: str) -> None:
    """Set the state of a flag's cases."""
    connection.execute(cases.update().where(cases.c.flag_id == flag_id).values(state=state))
