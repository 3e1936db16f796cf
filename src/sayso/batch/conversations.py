"""Conversations for fine-tuning: read from files or from prepared data, some held out, encoded as ids.

A row that cannot be trained on raises a one-sentence error with its place. A conversation longer than a row is split or
dropped, as configured, and everything left out is counted.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

from sayso.base.errors import UserError, nearest
from sayso.base.hold_out import HoldOut, apart
from sayso.base.intact import check_listed
from sayso.base.jsonl import BadRows
from sayso.batch.chat import MaskedIds
from sayso.text.conversations import windows
from sayso.text.document import Document, Messages, Place, Source
from sayso.text.files import rows_of_lines
from sayso.text.formats import document_of
from sayso.text.sources import read_part
from sayso.token.chat import prompt_ids, row_to_train
from sayso.token.tokenizer import Tokenizer

MOST_HELD_OUT = 256  # conversations that a share holds out; more would only make each evaluation slower


@dataclass(frozen=True)
class TrainingConversation:
    """One conversation as it was read."""

    messages: Messages
    tools: Sequence[dict[str, Any]]
    source: str
    at: Place | str
    """Its position in a file, for error messages."""

    @cached_property
    def key(self) -> str:
        """A hash of the content: the same conversation has the same hash at any position and with any weights."""
        said = [{name: value for name, value in turn.items() if name != "weight"} for turn in self.messages]
        return sha256(json.dumps([said, self.tools]).encode()).hexdigest()

    @property
    def replies(self) -> int:
        """How many of the assistant's turns are trained."""
        return sum(turn["role"] == "assistant" and turn.get("weight", 1) != 0 for turn in self.messages)

    def prompt(self) -> Messages:
        """Return what comes before the last reply; nothing where that is not a user's turn, or tools are called."""
        last = max(number for number, turn in enumerate(self.messages) if turn["role"] == "assistant")
        plain = not self.tools and last and self.messages[last - 1]["role"] == "user"
        return self.messages[:last] if plain else ()


@dataclass
class LaidOut:
    """Conversations as ids with their masks, and what became of those that are too long."""

    conversations: list[MaskedIds] = field(default_factory=list)
    long: int = 0
    """Conversations longer than a row."""
    windows: int = 0
    """Conversations made of these."""
    replies_left_out: int = 0
    """Their replies that are in no window."""
    unclear: int = 0
    """Replies that are not trained: the chat template changes them, so their tokens cannot be determined."""

    def add(self, conversation: MaskedIds, unclear: int) -> None:
        """Add a conversation with the number of its replies that are not trained; skip it if none is trained."""
        self.unclear += unclear
        if any(conversation[1][1:]):
            self.conversations.append(conversation)

    def summary(self, tokens: int) -> str:
        """Return what became of the conversations longer than `tokens`, in one sentence."""
        into = f"split into {self.windows:,} shorter ones" if self.windows else "left out"
        some = (
            f", {self.replies_left_out:,} of their replies left out" if self.windows and self.replies_left_out else ""
        )
        return f"{self.long:,} conversations are longer than {tokens:,} tokens: {into}{some}."


def prepared(path: Path, bad: BadRows) -> Iterator[TrainingConversation]:
    """Yield the conversations of a prepared file or of collected feedback; nothing if there is no such file."""
    if not path.exists():
        return
    check_listed(path.parent, path.name)
    for row, at in rows_of_lines(str(path), bad):
        document = bad.tried(at, document_of, row, None, at)
        talk = document and bad.tried(at, _talk, document, at, str(row.get("source", "")))
        if talk:
            yield talk


def read_conversations(sources: Iterable[Source], bad: BadRows) -> Iterator[TrainingConversation]:
    """Yield the conversations of files; rows that are none, or that train nothing, are counted in `bad`."""
    for source in sources:
        for part in source.parts:
            for document in read_part(part, bad):
                at = document.at or part.where[0]
                talk = bad.tried(at, _talk, document, at, source.name)
                if talk:
                    yield talk


def share_of(talks: Iterable[TrainingConversation], shares: dict[str, float]) -> list[TrainingConversation]:
    """Return the conversations, keeping the same pseudo-random fraction of each source that has a share."""
    return [talk for talk in talks if crc32(json.dumps(talk.messages).encode()) / 2**32 < shares.get(talk.source, 1.0)]


def check_shares(shares: dict[str, float], talks: Sequence[TrainingConversation]) -> None:
    """Raise `UserError` for a share of an unknown source."""
    known = sorted({talk.source for talk in talks})
    for name in shares:
        if name not in known:
            raise UserError(f"--mix has no source '{name}'; the sources are {', '.join(known)}.{nearest(name, known)}")


def hold_out(
    talks: list[TrainingConversation], reserved: list[TrainingConversation], size: HoldOut
) -> tuple[list[TrainingConversation], list[TrainingConversation]]:
    """Split into training and held-out conversations, by a hash of the content.

    They are taken from `reserved` conversations if there are any, else from `talks`; all copies of a conversation are
    on one side. Something always remains for training.
    """
    different = {talk.key: talk for talk in talks}
    pool = {talk.key: talk for talk in reserved} or different
    count = size.count(len(different), len(pool) if reserved else None)
    held = {key: pool[key] for key in sorted(pool)[:count]}
    if talks and different.keys() <= held.keys():  # only what was reserved is left for training
        return talks, []
    return apart(talks, held, _key)[0], list(held.values())


def lay_out(
    tokenizer: Tokenizer, talks: Iterable[TrainingConversation], tokens: int, bad: BadRows, *, split: bool
) -> LaidOut:
    """Return conversations as ids; those of more than `tokens` cut into windows, or left out.

    One that the chat layout does not take is counted in `bad`.
    """
    found = LaidOut()

    def fits(messages: Messages) -> bool:
        return len(prompt_ids(tokenizer, messages, reply=False, tools=talk.tools)) <= tokens

    for talk in talks:
        try:
            conversation, unclear = _rendered(tokenizer, talk)
            if len(conversation[0]) <= tokens:
                found.add(conversation, unclear)
                continue
            found.long += 1
            parts = (
                [TrainingConversation(part, talk.tools, "", talk.at) for part in windows(talk.messages, fits)]
                if split
                else []
            )
            parts = [part for part in parts if part.replies]
            for part in parts:
                found.add(*_rendered(tokenizer, part))
        except UserError as error:
            bad.add(talk.at, str(error))
            continue
        found.windows += len(parts)
        found.replies_left_out += talk.replies - sum(part.replies for part in parts)
    return found


def _talk(document: Document, at: Place | str, source: str) -> TrainingConversation:
    """Return a document as a conversation; raises `UserError` if nothing, or an empty reply, would be trained."""
    talk = TrainingConversation(document.messages, document.tools, source, at)
    if not talk.messages:
        raise UserError(
            "Fine-tuning needs conversations (messages, ShareGPT or Alpaca); this row has no turns. To train a base "
            "model on plain text, use: sayso prepare."
        )
    if not talk.replies:
        said = any(turn["role"] == "assistant" for turn in talk.messages)
        why = "every reply has weight 0" if said else "there is no assistant turn"
        raise UserError(f"A conversation needs at least one trained reply; {why}.")
    for turn in talk.messages:
        empty = not str(turn["content"]).strip() and not turn.get("tool_calls") and turn.get("weight", 1) != 0
        if turn["role"] == "assistant" and empty:
            raise UserError("A trained reply must not be empty; this one is.")
    return talk


def _rendered(tokenizer: Tokenizer, talk: TrainingConversation) -> tuple[MaskedIds, int]:
    """Return one conversation's ids and mask, and how many of its replies the chat template changes."""
    ids, trained, unclear = row_to_train(tokenizer, talk.messages, tools=talk.tools)
    assert any(trained[1:]) or unclear, "a reply that is trained has trained tokens"
    return (ids, trained), unclear


def _key(talk: TrainingConversation) -> str:
    return talk.key
