"""Selects which of a model's own replies it is fine-tuned on.

A verifier keeps what is right (expert iteration, Anthony et al. 2017; STaR, Zelikman et al. 2022); a vote keeps what a
model says most often, without knowing the truth, if the length fits (Lee et al. 2025, "Self-improving transformers
overcome easy-to-hard and length generalization challenges"); the control keeps as many at random. Equal replies to one
prompt count once, and a prompt has a share of its own at most.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from sayso.align.rl.prompts import Prompt

AGREE = 0.5  # share of a group's replies that must give one answer
SLACK = 1  # characters by which the length of a voted reply may differ from the commonest at its difficulty


@dataclass(frozen=True)
class Sampled:
    """One reply of the model's, and what it earned."""

    text: str
    reward: float
    ended: bool
    """Whether it ended by itself; one that was cut is never kept."""
    hinted: bool = False
    """Whether its prompt gave the answer away."""


@dataclass(frozen=True)
class SampledGroup:
    """All replies to one prompt."""

    prompt: Prompt
    level: object
    """Its difficulty, where prompts have one."""
    replies: Sequence[Sampled]


@dataclass(frozen=True)
class KeptReplies:
    """One reply to tune on."""

    prompt: Prompt
    reply: Sampled


def verified(groups: Sequence[SampledGroup], least: float, most: int) -> list[KeptReplies]:
    """Return the different replies that earned `least` or more, at most `most` a prompt, the first sampled first."""
    return _different(
        [
            KeptReplies(group.prompt, one)
            for group in groups
            for one in group.replies
            if one.ended and one.reward >= least
        ],
        most,
    )


def voted(groups: Sequence[SampledGroup], most: int) -> list[KeptReplies]:
    """Return replies with the answer that most of their group gave, where half agree and the length fits."""
    winners = []
    for group in groups:
        votes = Counter(final_answer(one.text) for one in group.replies if one.ended)
        if votes and (top := votes.most_common(1)[0])[1] >= AGREE * len(group.replies) and top[0]:
            winners.append((group, top[0]))
    lengths: dict[object, Counter[int]] = {}
    for group, said in winners:
        lengths.setdefault(group.level, Counter())[len(said)] += 1
    usual = {level: counts.most_common(1)[0][0] for level, counts in lengths.items()}
    return _different(
        [
            KeptReplies(group.prompt, one)
            for group, said in winners
            if abs(len(said) - usual[group.level]) <= SLACK
            for one in group.replies
            if one.ended and final_answer(one.text) == said
        ],
        most,
    )


def at_random(groups: Sequence[SampledGroup], count: int, most: int, draw: Random) -> list[KeptReplies]:
    """Return `count` different replies, right or wrong, fewer where there are not so many: the control."""
    every = _different(
        [KeptReplies(group.prompt, one) for group in groups for one in group.replies if one.ended], most, draw
    )
    return draw.sample(every, min(count, len(every)))


def final_answer(reply: str) -> str:
    """Return what is voted on: the last line of a reply, for what comes before it may be worded in many ways."""
    return reply.strip().rpartition("\n")[2].strip()


def _different(found: list[KeptReplies], most: int, draw: Random | None = None) -> list[KeptReplies]:
    """Return each text of a prompt once, at most `most` of them, in order or, with `draw`, any of them."""
    if draw:
        draw.shuffle(found)
    seen: set[tuple[int, str]] = set()
    count: Counter[int] = Counter()
    kept = []
    for one in found:
        mark = (one.prompt.number, one.reply.text)
        if one.reply.text.strip() and mark not in seen and count[one.prompt.number] < most:
            seen.add(mark)
            count[one.prompt.number] += 1
            kept.append(one)
    return kept
