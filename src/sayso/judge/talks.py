"""Scores on held-out conversations: what their replies cost a model, and its own replies beside those written.

Takes a sample of the conversations that a life holds out; returns a value for each, so that two models that read the
same ones are compared conversation by conversation.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from sayso.base.jsonl import BadRows
from sayso.batch.conversations import TrainingConversation, prepared
from sayso.judge.answers.text import squad1
from sayso.judge.replies import reply_nats
from sayso.judge.statistics.estimate import estimate, ratio
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.token.chat import row_to_train

SHORT = 60  # characters of a reply up to which it is compared with the model's own word by word
SHOWN = 5  # conversations whose replies are kept to be read side by side
_REPLY = Sampling(temperature=0, max_tokens=60)


@dataclass(frozen=True)
class TalkScores:
    """What a model reached on each conversation, in order."""

    nats: tuple[float, ...]
    """Negative log-likelihood of the replies."""
    tokens: tuple[int, ...]
    """Number of tokens of the replies, with the one that ends each."""
    exact: tuple[float, ...]
    """For each short last reply, whether the model's own reply is the same, apart from case, articles and signs."""
    f1: tuple[float, ...]
    """For each short last reply, the overlap of the words of both (F1, as in SQuAD)."""
    replies: tuple[tuple[str, str, str], ...]
    """Last message, reply as written, and the model's own reply, of a few conversations."""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data: estimates, and each value for pairing."""
        return {
            "loss": ratio(self.nats, self.tokens).as_dict(),
            "exact": estimate(self.exact).as_dict(),
            "f1": estimate(self.f1, low=0, high=1).as_dict(),
            "values": {name: list(getattr(self, name)) for name in ("nats", "tokens", "exact", "f1")},
            "replies": [dict(zip(("said", "written", "reply"), row, strict=True)) for row in self.replies],
        }


@dataclass(frozen=True)
class HeldTalks:
    """A sample of held-out conversations, and as many of those that were trained on."""

    held: tuple[TrainingConversation, ...]
    familiar: tuple[TrainingConversation, ...]

    def digest(self) -> str:
        """Return a hash of both samples."""
        return sha256("\n".join(talk.key for talk in (*self.held, *self.familiar)).encode()).hexdigest()


def held_talks(folder: Path, most: int) -> HeldTalks:
    """Return at most `most` conversations of the test split of a folder, and as many of its training split."""
    held = talk_sample(folder / "test.jsonl", most)
    return HeldTalks(tuple(held), tuple(familiar_sample(folder / "train.jsonl", len(held))))


def talks_json(replier: Replier, talks: HeldTalks) -> dict[str, Any]:
    """Return a model's scores on held-out conversations, and its loss on those that were trained on."""
    familiar = talk_nats(replier, talks.familiar)
    return {**score_talks(replier, talks.held).as_dict(), "familiar_loss": ratio(*familiar).as_dict()}


def talk_sample(path: Path, most: int) -> list[TrainingConversation]:
    """Return at most `most` conversations of a prepared file: those with the smallest hashes, on every machine."""
    return heapq.nsmallest(most, prepared(path, BadRows()), key=lambda talk: talk.key)


def familiar_sample(path: Path, most: int) -> list[TrainingConversation]:
    """Return the first `most` conversations of a file that was trained on."""
    return list(islice(prepared(path, BadRows()), most))


def score_talks(replier: Replier, talks: Sequence[TrainingConversation]) -> TalkScores:
    """Return a model's scores on conversations; those longer than its context lose their beginning."""
    nats, tokens = talk_nats(replier, talks)
    answerable = [talk for talk in talks if talk.prompt()]
    short = [talk for talk in answerable if len(written(talk)) <= SHORT]
    said = _replies(replier, [*short, *answerable[:SHOWN]])
    scores = [squad1(said.get(talk.key, ""), [written(talk)]) for talk in short]
    return TalkScores(
        tuple(nats),
        tuple(tokens),
        tuple(score.exact_match for score in scores),
        tuple(score.f1 for score in scores),
        tuple(
            (str(talk.prompt()[-1]["content"]), written(talk), said[talk.key])
            for talk in answerable[:SHOWN]
            if talk.key in said
        ),
    )


def _replies(replier: Replier, talks: Sequence[TrainingConversation]) -> dict[str, str]:
    """Return the model's reply to each conversation by its key, if the context has room for one."""
    room = replier.context - _REPLY.max_tokens
    fits = list({talk.key: talk for talk in talks if len(replier.prompt_ids(talk.prompt())) <= room}.values())
    found = replier.replies([talk.prompt() for talk in fits], _REPLY) if fits else []
    return {talk.key: reply.text.strip() for talk, reply in zip(fits, found, strict=True)}


def written(talk: TrainingConversation) -> str:
    """Return the last reply of a conversation."""
    return str(next(turn["content"] for turn in reversed(talk.messages) if turn["role"] == "assistant"))


def talk_nats(replier: Replier, talks: Sequence[TrainingConversation]) -> tuple[list[float], list[int]]:
    """Return the negative log-likelihood of each conversation's replies in nats, and their number of tokens."""
    size = replier.context
    rows = [row_to_train(replier.tokenizer, talk.messages, tools=talk.tools)[:2] for talk in talks]
    rows = [(ids[-size:], mask[-size:]) for ids, mask in rows]
    trained = [number for number, (_, mask) in enumerate(rows) if any(mask[1:])]
    nats, tokens = [0.0] * len(rows), [0] * len(rows)
    if trained:
        found = reply_nats(replier.model, [rows[number] for number in trained], size)
        for number, value, count in zip(trained, *found, strict=True):
            nats[number], tokens[number] = float(value), int(count)
    return nats, tokens
