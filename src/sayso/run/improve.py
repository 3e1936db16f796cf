"""Act: a model that gets better by its own replies, those that a verifier or a vote accepts.

Prompts and a reward enter; rounds of sampling, selecting and tuning leave `models/NAME-1`, `NAME-2` and so on, and the
best of them by held-out prompts as `models/NAME`. Each round starts from the model that the first began with (STaR), or
goes on from the last. With `--control` as many replies are kept at random: what the rounds gain without a verifier.
"""

from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from sayso.align.improve.curriculum import read_curriculum
from sayso.align.improve.rounds import Judge, Tuning, check_rounds, check_tuning, tune_round
from sayso.align.improve.sampling import PracticeSet, hinted, kept_until, sample_round
from sayso.align.rl.options import askable, rewards_of
from sayso.align.rl.prompts import ids_of, read_prompts
from sayso.base.device import pick_device
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import alone, model_of
from sayso.base.log import act_log, say
from sayso.base.ranges import Finite, Positive, Replies, Scale, Several
from sayso.reply.conversation import Replier
from sayso.run.results import Trained, trained
from sayso.sample.sampling import Sampling
from sayso.text.rows import ReadsRows, report_rows
from sayso.train.session import open_session
from sayso.weights.folder import save_model
from sayso.weights.lineage import read_lineage
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Improve(Tuning, ReadsRows):
    """Options of `sayso improve`."""

    _: KW_ONLY
    parent: str = "tuned"
    """The model to start from."""
    name: str = "improved"
    """What the new model is called; those of the rounds have a number behind it."""
    prompts: Path
    """JSONL of prompts to practise on, such as sayso puzzles writes."""
    held_out: Path
    """JSONL of prompts on which each round is judged, and the best one chosen."""
    reward: tuple[str, ...] = ("sayso.world.puzzles:score",)
    """What checks a reply: file.py:function, module:function or model:NAME, with =WEIGHT where several are added up."""
    least: Finite = 1.0
    """The reward from which a reply is kept."""
    select: Literal["verified", "voted", "random"] = "verified"
    """Keep what the reward accepts, or what a prompt's replies agree on, or as a control as many at random."""
    curriculum: str | None = None
    """FIELD=FIRST, such as digits=6: only rows up to that in the first round, one step more in each after it."""
    rounds: Several = 3
    """How often to sample, select and tune."""
    replies: Replies = 8
    """Replies sampled for each prompt that has not enough kept ones yet."""
    keep_replies: Several = 2
    """Different replies to one prompt that are kept at most."""
    temperature: Scale = 1.0
    """Of sampling; the held-out prompts are answered by the likeliest tokens."""
    max_tokens: Positive = 200
    """Most tokens of a reply; one that was cut is never kept."""
    hint: str | None = None
    """Added to a prompt without a right reply, such as ' (It is {answer}.)', and left out again for tuning."""
    go_on: bool = False
    """Tune the last round's model further, and not the first model anew."""


@alone(model_of)
def improve(options: Improve) -> Trained:
    """Sample, select and tune, round after round, and keep the best model."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    inputs = {"prompts": options.prompts, "held_out": options.held_out, options.parent: weights_file(parent)}
    stage = open_session(life, "improve", options.name, options, inputs)
    check_rounds(stage, options.rounds, inputs.values())
    practice = _practice(options, stage.when(restart=options.restart))
    device = pick_device(options.device).kind
    model, tokenizer = stage.open(parent, device, plain=True, restart=options.restart)
    check_tuning(options, model)
    bad, check = BadRows(options.bad_rows), askable(model, tokenizer)
    prompts, judged = (read_prompts(path, bad, check) for path in (options.prompts, options.held_out))
    report_rows(bad)
    longest = [replace(one, messages=[*map(dict, hinted(one, options.hint or ""))]) for one in prompts]
    ids_of(longest, tokenizer, model.config.context)
    if stage.plan(lambda: {"bad_rows": bad.facts()}, options.restart) is None:
        say(f"The model '{options.name}' is improved already with these options.")
        return trained(life, "improve", options.name, finished_before=True)
    with act_log(life, "improve", options.name, options) as log:
        judge, last = Judge(practice, judged, tokenizer, log), parent
        judge.score(model, 0)
        for number in range(1, options.rounds + 1):
            figures = sample_round(practice, Replier(model, tokenizer), prompts, number, stage.folder)
            if number > 1 and not figures["kept"]:
                say(f"Round {number} found nothing new to learn from, so the rounds end here.")
                break
            rows = kept_until(stage.folder, number)
            last = tune_round(options, stage, rows, last if options.go_on else parent, number)
            model, _ = stage.open(last, device)
            judge.score(model, number, figures)
        best = judge.best
        if best == 0:
            kept, _ = stage.open(parent, device, plain=True)
            save_model(kept, tokenizer, life.model(options.name), {**read_lineage(parent), "run": stage.mark})
        else:
            stage.take_model(best)
        judge.show()
    if best == 0:
        say("No round was better on the held-out prompts than the model that it began with, which is kept.")
    say(f"Saved {life.model(options.name)}, that of round {best}.")
    return trained(life, "improve", options.name)


def _practice(options: Improve, when: datetime) -> PracticeSet:
    return PracticeSet(
        rewards=rewards_of(options, options.reward, when),
        curriculum=read_curriculum(options.curriculum),
        sampling=Sampling(temperature=options.temperature, max_tokens=options.max_tokens, seed=options.seed),
        replies=options.replies,
        keep=options.keep_replies,
        least=options.least,
        select=options.select,
        hint=options.hint,
        seed=options.seed,
    )
