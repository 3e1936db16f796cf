"""What acts that learn from rewards take as options: prompts, rewards, how replies are drawn and judged."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from sayso.align.rl.prompt_order import PromptOrder, open_prompt_order
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import Reward, load_rewards, of_many, rewarded, unlike
from sayso.align.rl.sampling import GroupSampler
from sayso.align.scorer import Combine, open_scorer
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.ranges import Amount, Count, Positive, Range, Repeats, Scale, Several, Weight
from sayso.judge.samples import Samples
from sayso.judge.stats import estimate
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
    """A JSONL file of prompts, or a puzzle: addition or countdown."""
    _: KW_ONLY
    sizes: tuple[Annotated[int, Range(1, 1000)], ...] = ()
    """How hard a puzzle's problems are: digits, or how many numbers; several take turns."""
    reward: tuple[str, ...] = ()
    """Rewards: file.py:function, module:function or model:NAME, maybe with =WEIGHT; a puzzle's checker otherwise."""
    gold: tuple[str, ...] = ()
    """Rewards that choose the weights that are kept, on held-out prompts; those of --reward when not given."""
    held_out: Path | None = None
    """A file of prompts to be judged by; when not given, a puzzle's val split, or a tenth of the prompts."""
    judged: Amount = 200
    """How many held-out prompts; 0 = keep the last weights, whatever they are worth."""
    judge_every: Positive = 10
    """Iterations between two judgements."""
    groups: Several = 32
    """Prompts of an iteration."""
    replies: Annotated[int, Range(2, 4096)] = 8
    """Replies to each prompt, which are compared with each other."""
    max_tokens: Positive = 64
    """Most tokens of a reply."""
    temperature: Scale = 1.0
    """At which replies are drawn, and learned from."""
    again: Repeats | None = None
    """How often groups whose replies all earn the same are drawn anew at most; 3 for dapo, else 0, when not given."""
    buffer: Count | None = None
    """Tokens before --max-tokens in which a reply begins to lose, up to 1; a fifth for dapo, else 0, when not given."""
    unfinished: Weight = 0.0
    """What a reply loses that does not end by itself."""
    keep_cut: bool = True
    """Whether replies that were cut are learned from."""


def open_prompts(
    options: RLOptions, bad: BadRows, check: Callable[[Prompt], object], when: datetime
) -> tuple[PromptOrder, list[Prompt], list[Reward], list[Reward]]:
    """Return what is practised on, the prompts to be judged by, the rewards, and those to be judged by.

    Rows without a prompt, or that fail `check`, are counted in `bad`. `when` is the time that chat templates of reward
    models are told.
    """
    given = (options.prompts, options.sizes, options.seed, options.judged, options.held_out)
    practice, held = open_prompt_order(*given, bad, check)
    report_rows(bad)
    checker = ("sayso.world.puzzles:score",) if options.prompts in MAKERS else ()
    rewards = rewards_of(options, options.reward or checker, when)
    return practice, held, rewards, rewards_of(options, options.gold, when) if options.gold else rewards


def askable(model: Transformer, tokenizer: Tokenizer) -> Callable[[Prompt], None]:
    """Return what raises `UserError` for a prompt that a model's template refuses, or that leaves it no room."""
    context = model.config.context

    def check(prompt: Prompt) -> None:
        length = len(prompt_ids(tokenizer, prompt.messages))
        if length >= context:
            raise UserError(f"A prompt leaves room for a reply in the context of {context:,} tokens; got {length:,}.")

    return check


def rewards_of(options: Adapting, given: Sequence[str], when: datetime | None = None) -> list[Reward]:
    """Return the rewards of their names, in order.

    `model:NAME` is a reward model of the life, and model:, min: or cautious:NAME,NAME,... an ensemble: their mean, the
    least of them, or the mean less half their variance. Chat templates are told the
    time `when`. Raises `UserError` as `load_rewards` does.
    """
    kinds: dict[str, Combine] = {"model": "mean", "min": "min", "cautious": "cautious"}
    found, life = [], Life(options.life)
    for one in given:
        kind, _, rest = one.partition(":")
        names, _, weight = rest.partition("=")
        if kind not in kinds:
            found.append(load_rewards([one])[0])
            continue
        try:
            factor = float(weight or 1)
        except ValueError:
            raise UserError(f"The weight of a reward is a number; got '{one}'.") from None
        folders = [resolve_model(life, name) for name in names.split(",")]
        scorer = open_scorer(folders, pick_device(options.device).kind, kinds[kind])
        if when:
            dated(scorer.tokenizer, when)
        found.append(of_many(names.partition(",")[0], scorer, factor))
    return unlike(found)


def group_sampler(
    options: RLOptions, tokenizer: Tokenizer, practice: PromptOrder, rewards: list[Reward], *, dapo: bool
) -> GroupSampler:
    """Return how an iteration's groups are drawn."""
    again = options.again if options.again is not None else 3 if dapo else 0
    buffer = options.buffer if options.buffer is not None else options.max_tokens // 5 if dapo else 0
    return GroupSampler(
        tokenizer, practice, rewards, options.groups, options.replies, options.max_tokens, options.temperature,
        again, buffer, options.unfinished, seed=options.seed,
    )  # fmt: skip


def held_out_judge(
    tokenizer: Tokenizer, held: list[Prompt], gold: list[Reward], drawn: Sampling, samples: Samples
) -> Callable[[State], dict[str, Any]]:
    """Return what tells how good replies to held-out prompts are, and takes the run's samples.

    They are drawn as in practice, since that is what gets better; the likeliest ones are told beside them.
    """
    greedy = replace(drawn, temperature=0)

    def judge(state: State) -> dict[str, Any]:
        samples.take(state.model, state.step)
        likeliest = held_out_score(state.model, tokenizer, held, gold, greedy)["held_out"]
        return held_out_score(state.model, tokenizer, held, gold, drawn) | {"held_out_likeliest": likeliest}

    return judge


def held_out_score(
    model: Transformer, tokenizer: Tokenizer, held: list[Prompt], gold: list[Reward], sampling: Sampling
) -> dict[str, Any]:
    """Return the mean reward of replies to prompts, half its 95 % interval, and the share that ended by itself.

    One reply alone has no interval.
    """
    training = model.training
    said = Replier(model.eval(), tokenizer).replies([prompt.messages for prompt in held], sampling)
    model.train(training)
    found = estimate([one.total for one in rewarded(gold, held, [reply.text for reply in said])])
    interval = {"held_out_interval": (found.high - found.low) / 2} if len(held) > 1 else {}
    return {
        "held_out": found.mean,
        **interval,
        "held_out_ended": sum(reply.finish == "stop" for reply in said) / len(said),
    }
