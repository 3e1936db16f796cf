"""Options of the acts that learn from rewards: prompts, rewards, sampling and evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from sayso.align.rl.prompt_order import PromptOrder, open_prompt_order
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import RewardFunction, distinct, load_rewards, of_many, rewarded
from sayso.align.rl.sampling import GroupSampler
from sayso.align.scorer import Combine, open_scorer
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.hold_out import HeldOut
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.ranges import Amount, Count, Positive, Range, Repeats, Scale, Several, Weight
from sayso.judge.samples import Samples
from sayso.judge.statistics.estimate import estimate
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.rows import ReadsRows, report_rows
from sayso.token.chat import prompt_ids
from sayso.token.load import dated
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting
from sayso.train.loop import State
from sayso.weights.models import resolve_model
from sayso.world.puzzles import MAKERS


@dataclass(frozen=True)
class RLOptions(Adapting, ReadsRows):
    """Options of the acts that learn from rewards."""

    prompts: str
    """JSON Lines file of prompts, or a puzzle: addition or countdown."""
    _: KW_ONLY
    sizes: tuple[Annotated[int, Range(1, 1000)], ...] = ()
    """Difficulty of a puzzle: number of digits (addition) or of numbers (countdown); several sizes alternate."""
    reward: tuple[str, ...] = ()
    """Rewards: file.py:function, module:function or model:NAME, optional =WEIGHT. Default: the puzzle's checker."""
    gold: tuple[str, ...] = ()
    """Rewards used on held-out prompts to select the best weights. Default: those of --reward."""
    held_out: HeldOut | None = None
    """Share, number or file of held-out prompts; 0 = none. Default: the puzzle's val split, or a tenth of the file."""
    judged: Amount = 200
    """Number of held-out prompts to evaluate on; 0 = no evaluation, keep the last weights."""
    judge_every: Positive = 10
    """Iterations between evaluations."""
    groups: Several = 32
    """Prompts per iteration."""
    replies: Annotated[int, Range(2, 4096)] = 8
    """Group size: replies sampled per prompt."""
    max_tokens: Positive = 64
    """Maximum number of tokens per reply."""
    temperature: Scale = 1.0
    """Temperature for sampling replies and for training on them."""
    again: Repeats | None = None
    """Dynamic sampling: maximum resampling rounds for groups with equal rewards. Default: 3 for dapo, else 0."""
    buffer: Count | None = None
    """Soft length penalty, from 0 to 1, over the last tokens before --max-tokens. Default: a fifth for dapo, else 0."""
    unfinished: Weight = 0.0
    """Penalty on replies that are truncated."""
    keep_cut: bool = True
    """Train on truncated replies."""


def open_rewards(
    options: RLOptions, bad: BadRows, check: Callable[[Prompt], object], when: datetime
) -> tuple[PromptOrder, list[Prompt], list[RewardFunction], list[RewardFunction]]:
    """Return the training prompts, the held-out prompts, the training rewards, and the evaluation rewards.

    Rows without a prompt, or that fail `check`, are counted in `bad`. `when` is the time passed to the chat templates
    of reward models.
    """
    source = (options.prompts, options.sizes, options.seed, options.judged, options.held_out)
    practice, held = open_prompt_order(*source, bad, check)
    report_rows(bad)
    checker = ("sayso.world.puzzles:score",) if options.prompts in MAKERS else ()
    rewards = rewards_of(options, options.reward or checker, when)
    return practice, held, rewards, rewards_of(options, options.gold, when) if options.gold else rewards


def prompt_check(model: Transformer, tokenizer: Tokenizer) -> Callable[[Prompt], None]:
    """Return a check that raises `UserError` for prompts that the chat template rejects or that leave no room."""
    context = model.config.context

    def check(prompt: Prompt) -> None:
        length = len(prompt_ids(tokenizer, prompt.messages))
        if length >= context:
            raise UserError(
                f"A prompt must leave room for a reply in the context of {context:,} tokens; got {length:,}."
            )

    return check


def rewards_of(options: Adapting, names: Sequence[str], when: datetime | None = None) -> list[RewardFunction]:
    """Return the named rewards, in order.

    `model:NAME` is a reward model of the life; model:, min: or cautious:NAME,NAME,... is an ensemble that takes the
    mean, the minimum, or the mean minus half the variance. Chat templates receive the time `when`. Raises `UserError`
    as `load_rewards` does.
    """
    kinds: dict[str, Combine] = {"model": "mean", "min": "min", "cautious": "cautious"}
    rewards, life = [], Life(options.life)
    for name in names:
        kind, _, rest = name.partition(":")
        models, _, weight = rest.partition("=")
        if kind not in kinds:
            rewards.append(load_rewards([name])[0])
            continue
        try:
            factor = float(weight or 1)
        except ValueError:
            raise UserError(f"The weight of a reward must be a number; got '{name}'.") from None
        folders = [resolve_model(life, model) for model in models.split(",")]
        scorer = open_scorer(folders, pick_device(options.device).kind, kinds[kind])
        if when:
            dated(scorer.tokenizer, when)
        rewards.append(of_many(models.partition(",")[0], scorer, factor))
    return distinct(rewards)


def group_sampler(
    options: RLOptions, tokenizer: Tokenizer, practice: PromptOrder, rewards: list[RewardFunction], *, dapo: bool
) -> GroupSampler:
    """Return the sampler of an iteration's groups."""
    again = options.again if options.again is not None else 3 if dapo else 0
    buffer = options.buffer if options.buffer is not None else options.max_tokens // 5 if dapo else 0
    return GroupSampler(
        tokenizer, practice, rewards, options.groups, options.replies, options.max_tokens, options.temperature,
        again, buffer, options.unfinished, seed=options.seed,
    )  # fmt: skip


def held_out_judge(
    tokenizer: Tokenizer, held: list[Prompt], gold: list[RewardFunction], sampling: Sampling, samples: Samples
) -> Callable[[State], dict[str, Any]]:
    """Return a function that evaluates replies to held-out prompts and takes the run's samples.

    Replies are sampled as in training, which improves these; the score of greedy replies is reported too.
    """
    greedy = replace(sampling, temperature=0)

    def judge(state: State) -> dict[str, Any]:
        samples.take(state.model, state.step)
        likeliest = held_out_score(state.model, tokenizer, held, gold, greedy)["held_out"]
        return held_out_score(state.model, tokenizer, held, gold, sampling) | {"held_out_likeliest": likeliest}

    return judge


def held_out_score(
    model: Transformer, tokenizer: Tokenizer, held: list[Prompt], gold: list[RewardFunction], sampling: Sampling
) -> dict[str, Any]:
    """Return the mean reward of replies to prompts, half its 95 % interval, and the share that was not truncated.

    A single reply has no interval.
    """
    training = model.training
    replies = Replier(model.eval(), tokenizer).replies([prompt.messages for prompt in held], sampling)
    model.train(training)
    score = estimate([one.total for one in rewarded(gold, held, [reply.text for reply in replies])])
    interval = {"held_out_interval": (score.high - score.low) / 2} if len(held) > 1 else {}
    return {
        "held_out": score.mean,
        **interval,
        "held_out_ended": sum(reply.finish == "stop" for reply in replies) / len(replies),
    }
