"""Act: train a model on its own replies that a verifier or a majority vote accepts (expert iteration, STaR).

Input: prompts and a reward. Each round samples, selects and fine-tunes, and writes `models/NAME-1`, `models/NAME-2` and
so on; the best one on held-out prompts becomes `models/NAME`. Each round starts from the parent (STaR) or, with
`--go-on`, from the previous round. `--select random` is a control without a verifier.
"""

from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from sayso.align.improve.curriculum import read_curriculum
from sayso.align.improve.rounds import Judge, RoundOptions, check_rounds, check_tuning, tune_round
from sayso.align.improve.sampling import PracticeSet, hinted, kept_until, sample_round
from sayso.align.rl.options import prompt_check, rewards_of
from sayso.align.rl.prompt_order import open_prompts
from sayso.align.rl.prompts import ids_of
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.hold_out import HeldOut, held_out_file
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
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

_JUDGED = 200  # maximum number of prompts that a share holds out


@dataclass(frozen=True)
class Improve(RoundOptions, ReadsRows):
    """Options of `sayso improve`."""

    _: KW_ONLY
    parent: str = "tuned"
    """Model to start from."""
    name: str = "improved"
    """Name of the new model; models of the rounds are called NAME-1, NAME-2 and so on."""
    prompts: Path
    """JSON Lines file of training prompts, such as written by sayso puzzles."""
    held_out: HeldOut | None = None
    """Share, number or file of prompts that evaluate each round and select the best. Default: a tenth, at most 200."""
    reward: tuple[str, ...] = ("sayso.world.puzzles:score",)
    """Rewards: file.py:function, module:function or model:NAME, each with an optional =WEIGHT; they are summed."""
    least: Finite = 1.0
    """Minimum reward of a kept reply."""
    select: Literal["verified", "voted", "random"] = "verified"
    """Keep replies by reward (verified), by majority vote per prompt (voted), or as many at random (control)."""
    curriculum: str | None = None
    """FIELD=FIRST, such as digits=6: rows up to this value in the first round, one more difficulty level per round."""
    rounds: Several = 3
    """Number of rounds of sampling, selecting and fine-tuning."""
    replies: Replies = 8
    """Replies sampled for each prompt that does not have enough kept replies yet."""
    keep_replies: Several = 2
    """Maximum number of distinct replies kept per prompt."""
    temperature: Scale = 1.0
    """Sampling temperature; evaluation on held-out prompts is greedy."""
    max_tokens: Positive = 200
    """Maximum tokens per reply; truncated replies are never kept."""
    hint: str | None = None
    """Text added to prompts without a correct reply, such as ' (It is {answer}.)'; removed before fine-tuning."""
    go_on: bool = False
    """Continue from the previous round's model instead of restarting each round from the parent."""


@exclusive(model_output)
def improve(options: Improve) -> Trained:
    """Train a model on its own verified replies, in rounds; keep the best model."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    inputs = {"prompts": options.prompts, options.parent: weights_file(parent)}
    inputs |= {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    session = open_session(life, "improve", options.name, options, inputs)
    check_rounds(session, options.rounds, inputs.values())
    if not options.restart and session.finished():
        say(f"The model '{options.name}' has already been improved with these options.")
        return trained(life, "improve", options.name, finished_before=True)
    practice = _practice(options, session.when(restart=options.restart))
    device = pick_device(options.device).kind
    model, tokenizer = session.open(parent, device, plain=True, restart=options.restart)
    check_tuning(options, model)
    bad, check = BadRows(options.bad_rows), prompt_check(model, tokenizer)
    most = None if isinstance(options.held_out, Path) else _JUDGED
    prompts, judged = open_prompts(options.prompts, options.held_out, options.seed, most, bad, check)
    report_rows(bad)
    if not judged:
        raise UserError("Each round is evaluated on held-out prompts; raise --held-out, or pass a file of prompts.")
    with_hints = [replace(one, messages=[*map(dict, hinted(one, options.hint or ""))]) for one in prompts]
    ids_of(with_hints, tokenizer, model.config.context)  # checks that each leaves room for a reply
    session.plan(lambda: {"bad_rows": bad.facts()}, options.restart)
    with act_log(life, "improve", options.name, options) as log:
        judge, last = Judge(practice, judged, tokenizer, log), parent
        judge.score(model, 0)
        for number in range(1, options.rounds + 1):
            figures = sample_round(practice, Replier(model, tokenizer), prompts, number, session.folder)
            if number > 1 and not figures["kept"]:
                say(f"Round {number} found no new replies to train on; stopping.")
                break
            rows = kept_until(session.folder, number)
            last = tune_round(options, session, rows, last if options.go_on else parent, number)
            model, _ = session.open(last, device)
            judge.score(model, number, figures)
        best = judge.best
        if best == 0:
            unchanged, _ = session.open(parent, device, plain=True)
            save_model(unchanged, tokenizer, life.model(options.name), {**read_lineage(parent), "run": session.mark})
        else:
            session.take_model(best)
        judge.show()
    if best == 0:
        say("No round beat the parent on the held-out prompts; the parent is kept.")
    say(f"Saved {life.model(options.name)} (round {best}).")
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
