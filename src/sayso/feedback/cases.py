"""Evaluation cases: confirmed misbehaviour, which every candidate has to answer before it is promoted.

A case has its own copy of the prompt and of the bad reply. A reply to it is checked by the detector that flagged it.
What a detector reads in the user's next turn cannot be seen in a new reply: there, the same words again are bad.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from sayso.feedback.detectors.detector import Detector, Reply
from sayso.feedback.store import Store
from sayso.feedback.tables import cases, now
from sayso.judge.answers.text import normalized
from sayso.reply.listed import is_chat, tools_of

CASES = "cases"
"""Name of the task under which answers to cases are kept; whether they are good is decided when they are read."""
FORBID = "forbid"
"""In place of a detector's name: the reply of the case must not be contained in another one."""


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
    connection: sql.Connection,
    message_id: int,
    flag_id: int,
    detector: str,
    prompt: Sequence[Mapping[str, str]],
    reply: str,
) -> None:
    """Add a case, or open it again if it is there; a raw prompt cannot be asked again, and is no case."""
    if not is_chat(prompt):
        return
    turns: Any = [dict(turn) for turn in prompt]
    text = json.dumps([detector, turns, reply], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if connection.scalar(sql.select(cases.c.id).where(cases.c.digest == digest)) is not None:
        connection.execute(cases.update().where(cases.c.digest == digest).values(state="open"))
        return
    row = {"message_id": message_id, "flag_id": flag_id, "digest": digest, "detector": detector, "prompt": turns}
    connection.execute(cases.insert().values({**row, "reply": reply, "state": "open", "created_at": now()}))


def set_cases(connection: sql.Connection, flag_id: int, state: str) -> None:
    """Set the state of a flag's cases."""
    connection.execute(cases.update().where(cases.c.flag_id == flag_id).values(state=state))
