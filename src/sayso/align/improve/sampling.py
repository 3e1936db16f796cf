"""Samples and selects a model's own replies for one round of self-improvement.

The kept replies and the figures of a round are stored as `round-1.jsonl` and `round-1.json` in the run's folder, so
that a round is never sampled twice.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from sayso.align.improve.curriculum import Curriculum
from sayso.align.improve.select import KeptReply, Sampled, SampledGroup, at_random, verified, voted
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import RewardFunction, rewarded
from sayso.base.errors import UserError
from sayso.base.files import read_object, write_json
from sayso.base.intact import check_recorded, recorded
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.log import Progress
from sayso.reply.conversation import Replier, Reply
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages

SEEDS = 1_000_003  # distance between the seeds of two rounds
_AT_ONCE = 64  # prompts per batch, after each of which the progress is updated


@dataclass(frozen=True)
class PracticeSet:
    """How replies are sampled, and which of them are kept."""

    rewards: Sequence[RewardFunction]
    curriculum: Curriculum
    sampling: Sampling
    replies: int
    """Number of replies sampled per prompt."""
    keep: int
    """Maximum number of distinct replies kept per prompt."""
    least: float
    """Minimum reward of a kept reply."""
    select: str
    """How replies are selected: verified, voted or random."""
    hint: str | None
    """Text added to a prompt without a correct reply; {FIELD} is replaced by a field of its row."""
    seed: int


def sample_round(
    practice: PracticeSet, replier: Replier, prompts: Sequence[Prompt], number: int, folder: Path
) -> dict[str, Any]:
    """Sample and select the replies of a round, write those that are kept, and return its figures.

    A round that was sampled before is read from disk.
    """
    path, figures_path = folder / f"round-{number}.jsonl", folder / f"round-{number}.json"
    if figures_path.exists():
        return read_object(figures_path)
    before = kept_until(folder, number - 1)
    count = Counter(row["line"] for row in before)
    missing = [p for p in practice.curriculum.of_round(prompts, number) if count[p.number] < practice.keep]
    groups = _sampled(practice, replier, missing, practice.seed + SEEDS * number)
    if practice.hint is not None:
        groups = _with_hints(practice, replier, groups, practice.seed + SEEDS * number + 1)
    known = {(row["line"], row["messages"][-1]["content"]) for row in before}
    selected = _selected(practice, groups, Random(f"{practice.seed}/{number}"))
    kept = [one for one in selected if (one.prompt.number, one.reply.text) not in known]
    figures = _figures(practice, groups, kept)
    with recorded(path):
        write_jsonl(path, (_row(one) for one in kept))
    write_json(figures_path, figures, sealed=True)
    return figures


def kept_until(folder: Path, number: int) -> list[dict[str, Any]]:
    """Return the rows kept in the rounds up to `number`."""
    paths = [folder / f"round-{n}.jsonl" for n in range(1, number + 1)]
    for path in paths:
        check_recorded(path, "start from scratch with --restart")
    return [row for path in paths for row in read_jsonl(path)]


def _sampled(
    practice: PracticeSet, replier: Replier, prompts: Sequence[Prompt], seed: int, hint: str = ""
) -> list[SampledGroup]:
    """Return a group of replies for each prompt, in order."""
    groups: list[SampledGroup] = []
    with Progress(len(prompts), "prompt") as line:
        for first in range(0, len(prompts), _AT_ONCE):
            some = prompts[first : first + _AT_ONCE]
            messages = [hinted(prompt, hint) for prompt in some for _ in range(practice.replies)]
            replies = replier.replies(messages, replace(practice.sampling, seed=seed + first))
            for place, prompt in enumerate(some):
                own = replies[place * practice.replies : (place + 1) * practice.replies]
                groups.append(
                    SampledGroup(prompt, practice.curriculum.level(prompt), _scored(practice, prompt, own, hint))
                )
            line.update(first + len(some))
    return groups


def _scored(practice: PracticeSet, prompt: Prompt, replies: Sequence[Reply], hint: str) -> list[Sampled]:
    earned = rewarded(practice.rewards, [prompt] * len(replies), [one.text for one in replies])
    return [
        Sampled(one.text, each.total, one.finish == "stop", bool(hint))
        for one, each in zip(replies, earned, strict=True)
    ]


def _with_hints(practice: PracticeSet, replier: Replier, groups: list[SampledGroup], seed: int) -> list[SampledGroup]:
    """Add replies sampled with the hint to the groups without a correct reply (STaR's rationalization)."""
    unsolved = [group.prompt for group in groups if not verified([group], practice.least, 1)]
    sampled = _sampled(practice, replier, unsolved, seed, practice.hint or "")
    added = {group.prompt.number: group.replies for group in sampled}
    return [replace(group, replies=[*group.replies, *added.get(group.prompt.number, ())]) for group in groups]


def hinted(prompt: Prompt, hint: str) -> Messages:
    """Return a prompt's messages with the hint added. Raises `UserError` if its row lacks a field of the hint."""
    if not hint:
        return prompt.messages
    try:
        added = hint.format_map(prompt.info)
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"--hint names a field that the row in line {prompt.number} does not have: {error}.") from error
    *earlier, last = prompt.messages
    return [*earlier, {**last, "content": last["content"] + added}]


def _selected(practice: PracticeSet, groups: list[SampledGroup], draw: Random) -> list[KeptReply]:
    if practice.select == "voted":
        return voted(groups, practice.keep)
    correct = verified(groups, practice.least, practice.keep)
    return correct if practice.select == "verified" else at_random(groups, len(correct), practice.keep, draw)


def _figures(practice: PracticeSet, groups: list[SampledGroup], kept: list[KeptReply]) -> dict[str, Any]:
    own = [one for group in groups for one in group.replies if not one.hinted]
    solved = [any(one.reward >= practice.least and not one.hinted for one in group.replies) for group in groups]
    return {
        "prompts": len(groups),
        "sampled": len(own),
        "reward": fmean(one.reward for one in own) if own else 0.0,
        "solved": fmean(solved) if solved else 0.0,
        "ended": fmean(one.ended for one in own) if own else 0.0,
        "distinct": len({(g.prompt.number, one.text) for g in groups for one in g.replies}) / max(1, len(own)),
        "kept": len(kept),
        "kept_prompts": len({one.prompt.number for one in kept}),
        "kept_right": fmean(one.reply.reward >= practice.least for one in kept) if kept else 0.0,
        "rationalised": sum(one.reply.hinted for one in kept),
    }


def _row(one: KeptReply) -> dict[str, Any]:
    """Return a kept reply as a conversation, without the hint."""
    messages = [*one.prompt.messages, {"role": "assistant", "content": one.reply.text}]
    return {"messages": messages, "line": one.prompt.number, "reward": one.reply.reward, "source": "own"}
