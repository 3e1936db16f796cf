"""Samples the data of an iteration: prompts, a group of replies to each, and their rewards.

With `again` above 0, groups whose replies all earned the same teach nothing and are replaced by groups of further
prompts, so often at most (dynamic sampling: Yu et al. 2025, DAPO).
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

EQUAL = 1e-6  # scores of a group that differ by less are the same


@dataclass(frozen=True)
class RewardedGroup:
    """One prompt, its replies, what each earned, and the same after shaping."""

    prompt: Prompt
    rollouts: list[Rollout]
    earned: list[Rewarded]
    scores: list[float]

    @property
    def teaches(self) -> bool:
        """Whether its replies earned unequally."""
        return max(self.scores) - min(self.scores) > EQUAL


@dataclass(frozen=True)
class SampledGroups:
    """What one iteration learns from."""

    groups: list[RewardedGroup]
    asked: int
    """Prompts that were asked, those of groups left out counted."""
    silent: int
    """Of all groups that were asked, those without signal."""
    mean: float
    """What all replies earned on average, those of groups left out counted."""

    @property
    def rollouts(self) -> list[Rollout]:
        """All replies, group after group."""
        return [one for group in self.groups for one in group.rollouts]

    @property
    def rewarded(self) -> list[Rewarded]:
        """What each earned, in parts."""
        return [one for group in self.groups for one in group.earned]

    @property
    def scores(self) -> Tensor:
        """[P, G], float64."""
        return torch.tensor([group.scores for group in self.groups], dtype=torch.float64)


@dataclass(frozen=True)
class GroupSampler:
    """How an iteration's groups are drawn."""

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
    """Tokens before `max_tokens` in which a reply begins to lose; 0 = off."""
    unfinished: float = 0.0
    """What a reply loses that does not end by itself."""
    seed: int = field(default=0, kw_only=True)

    def draw(self, model: Transformer, number: int, first: int) -> SampledGroups:
        """Return the groups of iteration `number`, whose first prompt is that of place `first`."""
        kept: list[RewardedGroup] = []
        others: list[RewardedGroup] = []
        asked = 0
        for turn in range(self.again + 1):
            prompts = self.practice(first + asked, self.groups - len(kept))
            found = self.grouped(model, prompts, derive_seed(self.seed, number, turn))
            asked += len(prompts)
            for group in found:
                (kept if group.teaches else others).append(group)
            if not self.again or len(kept) == self.groups:
                break
        mean = fmean(score for group in (*kept, *others) for score in group.scores)
        learned = (kept or others[: self.groups]) if self.again else [*kept, *others]
        return SampledGroups(learned, asked, len(others), mean)

    def grouped(self, model: Transformer, prompts: Sequence[Prompt], seed: int) -> list[RewardedGroup]:
        """Return a group of replies to each prompt. Raises `UserError` as `ids_of` does."""
        ids = ids_of(prompts, self.tokenizer, model.config.context)
        drawn = sample_groups(
            model, self.tokenizer, ids, self.replies,
            max_tokens=self.max_tokens, temperature=self.temperature, seed=seed,
        )  # fmt: skip
        asked = [prompt for prompt in prompts for _ in range(self.replies)]
        rollouts = [one for group in drawn for one in group]
        earned = rewarded(self.rewards, asked, [one.text for one in rollouts])
        scores = [
            shaped(
                each.total, length=one.length, ended=one.ended,
                limit=self.max_tokens, buffer=self.buffer, unfinished=self.unfinished,
            )
            for each, one in zip(earned, rollouts, strict=True)
        ]  # fmt: skip
        size = self.replies
        return [
            RewardedGroup(prompt, drawn[n], earned[n * size : (n + 1) * size], scores[n * size : (n + 1) * size])
            for n, prompt in enumerate(prompts)
        ]


def derive_seed(*parts: int) -> int:
    """Return a seed that follows from several numbers."""
    return Random("/".join(map(str, parts))).getrandbits(62)
