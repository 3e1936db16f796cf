"""Selects which of a model's own replies it is fine-tuned on.

A verifier keeps correct replies (expert iteration, Anthony et al. 2017; STaR, Zelikman et al. 2022). A vote keeps the
most frequent answer, without knowing the truth, if its length is usual (Lee et al. 2025, "Self-improving transformers
overcome easy-to-hard and length generalization challenges"). The control keeps as many replies at random. Equal replies
to a prompt count once, and the number of replies per prompt is limited.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from sayso.align.rl.prompts import Prompt

AGREE = 0.5  # minimum share of a group's replies with the same answer
SLACK = 1  # characters by which the length of a voted answer may differ from the most common one at its difficulty


@dataclass(frozen=True)
class Sampled:
    """A reply of the model and its reward."""

    text: str
    reward: float
    ended: bool
    """Whether it was not truncated; truncated replies are never kept."""
    hinted: bool = False
    """Whether its prompt contained the hint."""


@dataclass(frozen=True)
class SampledGroup:
    """All replies to a prompt."""

    prompt: Prompt
    level: object
    """Difficulty of the prompt."""
    replies: Sequence[Sampled]


@dataclass(frozen=True)
class KeptReply:
    """A reply to fine-tune on."""

    prompt: Prompt
    reply: Sampled


def verified(groups: Sequence[SampledGroup], least: float, most: int) -> list[KeptReply]:
    """Return the distinct replies with a reward of at least `least`, in order, at most `most` per prompt."""
    return _different(
        [
            KeptReply(group.prompt, one)
            for group in groups
            for one in group.replies
            if one.ended and one.reward >= least
        ],
        most,
    )


def voted(groups: Sequence[SampledGroup], most: int) -> list[KeptReply]:
    """Return replies with the most frequent answer of their group, if enough agree and its length is usual."""
    winners = []
    for group in groups:
        votes = Counter(final_answer(one.text) for one in group.replies if one.ended)
        if votes and (top := votes.most_common(1)[0])[1] >= AGREE * len(group.replies) and top[0]:
            winners.append((group, top[0]))
    lengths: dict[object, Counter[int]] = {}
    for group, answer in winners:
        lengths.setdefault(group.level, Counter())[len(answer)] += 1
    usual = {level: counts.most_common(1)[0][0] for level, counts in lengths.items()}
    return _different(
        [
            KeptReply(group.prompt, one)
            for group, answer in winners
            if abs(len(answer) - usual[group.level]) <= SLACK
            for one in group.replies
            if one.ended and final_answer(one.text) == answer
        ],
        most,
    )


def at_random(groups: Sequence[SampledGroup], count: int, most: int, draw: Random) -> list[KeptReply]:
    """Return up to `count` distinct replies, correct or not, at most `most` per prompt."""
    every = _different(
        [KeptReply(group.prompt, one) for group in groups for one in group.replies if one.ended], most, draw
    )
    return draw.sample(every, min(count, len(every)))


def final_answer(reply: str) -> str:
    """Return the last line of a reply, which is voted on; the reasoning before it may differ."""
    return reply.strip().rpartition("\n")[2].strip()


def _different(found: list[KeptReply], most: int, draw: Random | None = None) -> list[KeptReply]:
    """Return distinct replies, at most `most` per prompt: the first ones, or with `draw`, random ones."""
    if draw:
        draw.shuffle(found)
    seen: set[tuple[int, str]] = set()
    count: Counter[int] = Counter()
    kept = []
    for one in found:
        key = (one.prompt.number, one.reply.text)
        if one.reply.text.strip() and key not in seen and count[one.prompt.number] < most:
            seen.add(key)
            count[one.prompt.number] += 1
            kept.append(one)
    return kept
