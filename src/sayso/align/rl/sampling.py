"""Samples the data of an iteration: prompts, a group of replies to each, and their rewards.

With `again` above 0, groups whose replies all have the same reward, and thus no gradient, are replaced by groups of
further prompts, up to `again` times (dynamic sampling: Yu et al. 2025, DAPO).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean

import torch
from torch import Tensor

from sayso.align.rl.prompt_order import PromptOrder
from sayso.align.rl.prompts import Prompt, ids_of
from sayso.align.rl.rewards import Rewarded, RewardFunction, rewarded
from sayso.align.rl.rollout import Rollout, sample_groups
from sayso.align.rl.shaping import shaped
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer

EQUAL = 1e-6  # scores that differ by at most this count as equal


@dataclass(frozen=True)
class RewardedGroup:
    """A prompt with its replies, their rewards, and their scores, which are the rewards after shaping."""

    prompt: Prompt
    rollouts: list[Rollout]
    earned: list[Rewarded]
    scores: list[float]

    @property
    def has_signal(self) -> bool:
        """Whether the scores differ."""
        return max(self.scores) - min(self.scores) > EQUAL


@dataclass(frozen=True)
class SampledGroups:
    """The data of an iteration."""

    groups: list[RewardedGroup]
    prompts: int
    """Number of all sampled groups, including those left out."""
    without_signal: int
    """Number of all sampled groups without signal."""
    mean: float
    """Mean score of all replies, including those of groups left out."""

    @property
    def rollouts(self) -> list[Rollout]:
        """All replies, group after group."""
        return [one for group in self.groups for one in group.rollouts]

    @property
    def rewarded(self) -> list[Rewarded]:
        """Rewards of each reply."""
        return [one for group in self.groups for one in group.earned]

    @property
    def scores(self) -> Tensor:
        """Scores of the replies, [P, G] float64."""
        return torch.tensor([group.scores for group in self.groups], dtype=torch.float64)


@dataclass(frozen=True)
class GroupSampler:
    """Samples the groups of an iteration."""

    tokenizer: Tokenizer
    practice: PromptOrder
    rewards: Sequence[RewardFunction]
    groups: int
    replies: int
    max_tokens: int
    temperature: float = 1.0
    again: int = 0
    """Maximum number of resampling rounds for groups without signal."""
    buffer: int = 0
    """Number of last tokens before `max_tokens` in which the length is penalized; 0 = off."""
    unfinished: float = 0.0
    """Penalty on a truncated reply."""
    seed: int = field(default=0, kw_only=True)

    def sample(self, model: Transformer, number: int, first: int) -> SampledGroups:
        """Return the groups of iteration `number`, starting with the prompt number `first`."""
        kept: list[RewardedGroup] = []
        others: list[RewardedGroup] = []
        for turn in range(self.again + 1):
            prompts = self.practice(first + len(kept) + len(others), self.groups - len(kept))
            for group in self.grouped(model, prompts, derive_seed(self.seed, number, turn)):
                (kept if group.has_signal else others).append(group)
            if len(kept) == self.groups:
                break
        mean = fmean(score for group in (*kept, *others) for score in group.scores)
        groups = (kept or others[: self.groups]) if self.again else [*kept, *others]
        return SampledGroups(groups, len(kept) + len(others), len(others), mean)

    def grouped(self, model: Transformer, prompts: Sequence[Prompt], seed: int) -> list[RewardedGroup]:
        """Return a group of replies to each prompt. Raises `UserError` as `ids_of` does."""
        ids = ids_of(prompts, self.tokenizer, model.config.context)
        sampled = sample_groups(
            model, self.tokenizer, ids, self.replies,
            max_tokens=self.max_tokens, temperature=self.temperature, seed=seed,
        )  # fmt: skip
        repeated = [prompt for prompt in prompts for _ in range(self.replies)]
        rollouts = [one for group in sampled for one in group]
        earned = rewarded(self.rewards, repeated, [one.text for one in rollouts])
        scores = [
            shaped(
                each.total, length=one.length, ended=one.ended,
                limit=self.max_tokens, buffer=self.buffer, unfinished=self.unfinished,
            )
            for each, one in zip(earned, rollouts, strict=True)
        ]  # fmt: skip
        size = self.replies
        return [
            RewardedGroup(prompt, sampled[n], earned[n * size : (n + 1) * size], scores[n * size : (n + 1) * size])
            for n, prompt in enumerate(prompts)
        ]


def derive_seed(*parts: int) -> int:
    """Return a seed derived from several numbers."""
    return Random("/".join(map(str, parts))).getrandbits(62)
