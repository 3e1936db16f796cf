"""Clients of a server who keep what it acknowledged, and what is wrong with a store by what they know.

A request that got no answer may have left the one row that it asks for, or none; everything else is a fault.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import sqlalchemy as sql

from sayso.feedback.aliases import Assignment
from sayso.feedback.storable import storable
from sayso.feedback.store import Store
from sayso.feedback.tables import conversations, generations, messages, ratings, turns

TIMEOUT = 60.0  # seconds that a client waits for an answer
PAUSE = 0.1  # seconds after a request without an answer
API = 0.3  # share of the talks that are one request to OpenAI's API
Rows = Mapping[int, sql.RowMapping]


class NoAnswerError(Exception):
    """A request was not acknowledged."""


@dataclass
class Told:
    """What a client knows."""

    conversations: set[int] = field(default_factory=set)
    messages: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    """Conversation, role and text by id."""
    ratings: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Reply and comment by id."""
    replies: dict[str, str] = field(default_factory=dict)
    """Of the API: reply by prompt."""
    open: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by table."""
    faults: list[str] = field(default_factory=list)
    """Answers that the client should not have got."""
    answered: int = 0
    """Number of acknowledged requests."""


class Client:
    """Somebody with a key, who talks, rates and asks the API, whatever happens to the server."""

    def __init__(self, name: str, address: str, key: str) -> None:
        self.name, self.told, self.draw = name, Told(), random.Random(name)
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx2.Client(base_url=address, headers=headers, timeout=TIMEOUT)

    def run(self, stop: threading.Event) -> None:
        """Talk until told to stop."""
        while not stop.is_set():
            try:
                self.ask() if self.draw.random() < API else self.talk()
            except NoAnswerError:
                stop.wait(PAUSE)

    def ask(self) -> None:
        """Ask the API once."""
        text = self._text()
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 4}
        self.told.replies[text] = self._post("/v1/chat/completions", body, "api")["choices"][0]["message"]["content"]

    def talk(self) -> None:
        """Have a conversation on the page of one turn or two, and rate the replies."""
        told = self.told
        talk = self._post("/api/conversations", {}, "conversations")["id"]
        told.conversations.add(talk)
        for _ in range(self.draw.randint(1, 2)):
            said = self._post("/api/messages", {"conversation_id": talk, "content": self._text()}, "messages")
            told.messages[said["id"]] = talk, "user", said["content"]
            turn = self._reply(said["id"])
            told.messages[turn["id"]] = talk, "assistant", turn["content"]
            comment = self._text()
            rated = self._post(
                "/api/ratings",
                {"kind": "thumb", "message_id": turn["id"], "value": 1, "comment": comment},
                "ratings",
            )
            told.ratings[rated["id"]] = turn["id"], comment

    def _text(self) -> str:
        return f"{self.name} {self.draw.getrandbits(64):016x}"

    def _post(self, path: str, body: dict[str, Any], table: str) -> dict[str, Any]:
        """Return the answer to a request for one row of a table. Raises `NoAnswerError` if there is none."""
        try:
            answer = self.http.post(path, json=body)
            if answer.is_success:
                found: dict[str, Any] = answer.json()
                self.told.answered += 1
                return found
            self._check(path, answer.status_code, answer.text)
        except httpx2.TransportError:
            pass
        self.told.open[table] += 1
        raise NoAnswerError

    def _reply(self, asked: int) -> dict[str, Any]:
        """Return the turn at the end of a stream."""
        try:
            with self.http.stream("POST", "/api/replies", json={"message_id": asked, "max_tokens": 8}) as answer:
                if answer.is_success:
                    for name, data in events(answer.iter_lines()):
                        if name == "done" and data["turn"] is not None:
                            self.told.answered += 1
                            return dict(data["turn"])
                else:
                    answer.read()
                    self._check("/api/replies", answer.status_code, answer.text)
        except httpx2.TransportError:
            pass
        self.told.open["messages"] += 1
        raise NoAnswerError

    def _check(self, path: str, status: int, text: str) -> None:
        """A server that cannot answer says 503, and nothing else."""
        if status != 503:
            self.told.faults.append(f"{path} answered {status}: {text[:200]}")


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Yield the name and the data of server-sent events."""
    name = ""
    for line in lines:
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            yield name, json.loads(line[5:])


@dataclass(frozen=True)
class Contents:
    """The rows of a store."""

    conversations: Rows
    messages: Rows
    ratings: Rows
    traced: frozenset[int]
    prompts: Mapping[int, str]
    """Last turn of the prompt by reply."""
    broken: list[str]
    """What the database itself finds wrong."""

    @classmethod
    def of(cls, store: Store) -> "Contents":
        """Read everything at one moment."""
        snapshot = {"isolation_level": "REPEATABLE READ"} if store.engine.dialect.name == "postgresql" else {}
        with store.engine.execution_options(**snapshot).begin() as connection:

            def every(table: sql.Table) -> Rows:
                return {row["id"]: row for row in connection.execute(table.select()).mappings()}

            last = sql.select(messages.c.id, turns.c.content).join(turns, turns.c.id == messages.c.prompt_id)
            broken = list[str]()
            if connection.dialect.name == "sqlite":
                checked = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
                broken = [str(one) for one in checked if one != "ok"]
                broken += map(str, connection.exec_driver_sql("PRAGMA foreign_key_check").all())
            return cls(
                every(conversations), every(messages), every(ratings),
                frozenset(connection.scalars(sql.select(generations.c.message_id))),
                {row.id: row.content for row in connection.execute(last)}, broken,
            )  # fmt: skip


def faults_of(store: Store, clients: Sequence[Told], models: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a store; `models` are the fingerprints by name."""
    held = Contents.of(store)
    found = [*held.broken, *(fault for told in clients for fault in told.faults)]
    found += [fault for told in clients for fault in lost(held, told)]
    found += halves(held, models)
    ours = {talk for talk, row in held.conversations.items() if row["key"] is None}
    counts = {
        "conversations": len(ours),
        "messages": sum(row["conversation_id"] in ours for row in held.messages.values()),
        "ratings": len(held.ratings),
    }
    for table, count in counts.items():
        known = sum(len(getattr(told, table)) for told in clients)
        unknown = sum(told.open[table] for told in clients)
        if count > known + unknown:
            found.append(f"{table}: {count} rows, though {known} were acknowledged and {unknown} got no answer")
    return found


def lost(held: Contents, told: Told) -> Iterator[str]:
    """Yield what a client was told and the store does not have."""
    for talk in told.conversations - held.conversations.keys():
        yield f"conversation {talk} is lost"
    for message, (talk, role, text) in told.messages.items():
        row = held.messages.get(message)
        if row is None or (row["conversation_id"], row["role"], row["content"]) != (talk, role, text):
            yield f"message {message} is lost or differs"
    for rating, (reply, comment) in told.ratings.items():
        rated = held.ratings.get(rating)
        if rated is None or (rated["message_id"], rated["value"], rated["comment"]) != (reply, 1, comment):
            yield f"rating {rating} is lost or differs"


def halves(held: Contents, models: Mapping[str, str]) -> Iterator[str]:
    """Yield what is there by half, or twice."""
    answers = Counter(row["parent_id"] for row in held.messages.values() if row["parent_id"] is not None)
    newest: dict[int, int] = {}
    for message, row in held.messages.items():
        newest[row["conversation_id"]] = max(message, newest.get(row["conversation_id"], 0))
        if answers[message] > 1:
            yield f"message {message} was asked to be answered once, and has {answers[message]} answers"
        if row["role"] == "user":
            continue
        if models.get(row["model"]) != row["fingerprint"]:
            yield f"reply {message} is of '{row['model']}' with the fingerprint {row['fingerprint']}"
        if message not in held.traced or message not in held.prompts:
            yield f"reply {message} has no trace or no prompt"
    for talk, row in held.conversations.items():
        if row["key"] is None and row["head_id"] != newest.get(talk):
            yield f"conversation {talk} ends with {row['head_id']}, not with its newest message {newest.get(talk)}"


def recorded(store: Store, told: Told) -> tuple[list[str], list[str]]:
    """Return what the API was asked and the store does not have, and what is wrong with what it has."""
    held = Contents.of(store)
    known: dict[str, list[str]] = {}
    for message, row in held.messages.items():
        if held.conversations[row["conversation_id"]]["key"] is not None:
            known.setdefault(held.prompts[message], []).append(row["content"])
    missing = [text for text in told.replies if text not in known]
    texts = [text for text in told.replies if text in known and known[text] != [storable(told.replies[text])]]
    return missing, [f"the reply to '{text}' was recorded as {known[text]}" for text in texts]


def faults_of_history(history: Sequence[Assignment], moves: Sequence[Any], models: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with an alias; `moves` are those that were acknowledged as JSON, None where one failed."""
    known = {entry.id: entry for entry in history}
    for move in filter(None, moves):
        entry = known.get(move["id"])
        if entry is None or (entry.model, entry.kind) != (move["model"], move["kind"]):
            yield f"move {move['id']} to '{move['model']}' is lost or differs"
    standing: list[str] = []
    for entry in history:
        if models.get(entry.model) != entry.fingerprint:
            yield f"entry {entry.id} names '{entry.model}' with the fingerprint {entry.fingerprint}"
        if entry.kind != "rolled back":
            standing.append(entry.model)
        elif len(standing) < 2 or standing[-2] != entry.model:
            yield f"entry {entry.id} rolls back to '{entry.model}' from {standing[-2:]}"
        else:
            standing.pop()
