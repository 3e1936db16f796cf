"""Conversations for fine-tuning: read from files or from prepared data, partly held out, and encoded as ids.

Rows that cannot be trained on are counted. Conversations longer than a row are split or dropped, and counted too.
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
from sayso.base.hold_out import HoldOut, separate
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

MOST_HELD_OUT = 256  # maximum conversations that a share holds out; more would only make evaluations slower


@dataclass(frozen=True)
class TrainingConversation:
    """A conversation as read from a file."""

    messages: Messages
    tools: Sequence[dict[str, Any]]
    source: str
    at: Place | str
    """Its position in a file, for error messages."""

    @cached_property
    def key(self) -> str:
        """A hash of the content, which does not depend on the position and the weights."""
        messages = [{name: value for name, value in turn.items() if name != "weight"} for turn in self.messages]
        return sha256(json.dumps([messages, self.tools]).encode()).hexdigest()

    @property
    def replies(self) -> int:
        """Number of the assistant's turns that are trained on."""
        return sum(turn["role"] == "assistant" and turn.get("weight", 1) != 0 for turn in self.messages)

    def prompt(self) -> Messages:
        """Return the turns before the last reply; empty if the last of them is not the user's, or there are tools."""
        last = max(number for number, turn in enumerate(self.messages) if turn["role"] == "assistant")
        plain = not self.tools and last and self.messages[last - 1]["role"] == "user"
        return self.messages[:last] if plain else ()


@dataclass
class LaidOut:
    """Conversations as ids and masks, with counts of those that are too long."""

    conversations: list[MaskedIds] = field(default_factory=list)
    long: int = 0
    """Conversations longer than a row."""
    windows: int = 0
    """Shorter conversations that those were split into."""
    replies_left_out: int = 0
    """Replies of those that are in no window."""
    unclear: int = 0
    """Replies that are not trained on, because the chat template alters them, so they cannot be located."""

    def add(self, conversation: MaskedIds, unclear: int) -> None:
        """Add a conversation and the number of its unclear replies; skip it if no reply is trained on."""
        self.unclear += unclear
        if any(conversation[1][1:]):
            self.conversations.append(conversation)

    def summary(self, tokens: int) -> str:
        """Return a sentence about the conversations longer than `tokens`."""
        into = f"split into {self.windows:,} shorter ones" if self.windows else "left out"
        some = (
            f", {self.replies_left_out:,} of their replies left out" if self.windows and self.replies_left_out else ""
        )
        return f"{self.long:,} conversations are longer than {tokens:,} tokens: {into}{some}."


def prepared(path: Path, bad: BadRows) -> Iterator[TrainingConversation]:
    """Yield the conversations of a prepared file or of gathered feedback; nothing if there is no such file."""
    if not path.exists():
        return
    check_listed(path.parent, path.name)
    for row, at in rows_of_lines(str(path), bad):
        document = bad.attempt(at, document_of, row, None, at)
        talk = document and bad.attempt(at, _talk, document, at, str(row.get("source", "")))
        if talk:
            yield talk


def read_conversations(sources: Iterable[Source], bad: BadRows) -> Iterator[TrainingConversation]:
    """Yield the conversations of files; rows that are not conversations, or have no reply to train on, count as bad."""
    for source in sources:
        for part in source.parts:
            for document in read_part(part, bad):
                at = document.at or part.where[0]
                talk = bad.attempt(at, _talk, document, at, source.name)
                if talk:
                    yield talk


def share_of(talks: Iterable[TrainingConversation], shares: dict[str, float]) -> list[TrainingConversation]:
    """Return a share of each source's conversations, selected by a hash; sources without a share are kept."""
    return [talk for talk in talks if crc32(json.dumps(talk.messages).encode()) / 2**32 < shares.get(talk.source, 1.0)]


def shares(mix: tuple[str, ...]) -> dict[str, float]:
    """Parse `mix` into the share of each source; raise `UserError` unless each part is SOURCE=SHARE, 0 to 1."""
    found = {}
    for part in mix:
        name, _, share = part.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] <= 1:
            raise UserError(f"--mix takes SOURCE=SHARE with a share from 0 to 1, such as chitchat=0.1; got '{part}'.")
    return found


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

    `reserved` conversations are held out if there are any, else some of `talks`. All copies of a conversation are on
    the same side. If none would be left to train on, none are held out.
    """
    different = {talk.key: talk for talk in talks}
    pool = {talk.key: talk for talk in reserved} or different
    count = size.count(len(different), len(pool) if reserved else None)
    held = {key: pool[key] for key in sorted(pool)[:count]}
    train, _ = separate(talks, held, _key)
    return (train, list(held.values())) if train or not talks else (talks, [])


def lay_out(
    tokenizer: Tokenizer, talks: Iterable[TrainingConversation], tokens: int, bad: BadRows, *, split: bool
) -> LaidOut:
    """Return conversations as ids; those longer than `tokens` are split into windows, or left out.

    A conversation that the chat template rejects is counted in `bad`.
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
            messages = windows(talk.messages, fits) if split else ()
            parts = [TrainingConversation(some, talk.tools, "", talk.at) for some in messages]
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
    """Return a document as a conversation. Raises `UserError` if it has no reply to train on, or an empty one."""
    talk = TrainingConversation(document.messages, document.tools, source, at)
    if not talk.messages:
        raise UserError(
            "Fine-tuning needs conversations (messages, ShareGPT or Alpaca); this row has no turns. To train a base "
            "model on plain text, use: sayso prepare."
        )
    if not talk.replies:
        replied = any(turn["role"] == "assistant" for turn in talk.messages)
        why = "every reply has weight 0" if replied else "there is no assistant turn"
        raise UserError(f"A conversation needs at least one trained reply; {why}.")
    for turn in talk.messages:
        empty = not str(turn["content"]).strip() and not turn.get("tool_calls") and turn.get("weight", 1) != 0
        if turn["role"] == "assistant" and empty:
            raise UserError("A trained reply must not be empty; this one is.")
    return talk


def _rendered(tokenizer: Tokenizer, talk: TrainingConversation) -> tuple[MaskedIds, int]:
    """Return a conversation's ids and mask, and the number of its replies that the chat template alters."""
    ids, trained, unclear = row_to_train(tokenizer, talk.messages, tools=talk.tools)
    assert any(trained[1:]) or unclear, "a reply to train on has trained tokens"
    return (ids, trained), unclear


def _key(talk: TrainingConversation) -> str:
    return talk.key
