"""Act: a model that talks becomes one that says how good a reply is.

Comparisons and ratings enter, people's from the page and those of files; `models/reward` leaves, or several as an
ensemble. Some prompts are held out: they choose the weights and tell what the model knows beside the length of replies.
Scores are turned so that replies of the reference model have mean 0 and standard deviation 1 (Stiennon et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sayso.align.pairs.comparisons import ComparisonRow, read_pairs, read_ratings
from sayso.align.pairs.reward_data import Question, hold_out_questions, questions, spoil, tokenized
from sayso.align.pairs.reward_eval import RewardEval, as_json, loss_of, report_reward, reward_eval
from sayso.align.scorer import Scorer
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.intact import check_listed
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import RunLog, act_log, say
from sayso.base.ranges import Amount, Epochs, PartOf, Rows, Scale, Several, Share, Weight
from sayso.batch.batch import Batch
from sayso.batch.judged import JudgedBatch, JudgedBatches
from sayso.batch.pairs import WIDTH_STEP
from sayso.loss.reward import reward_loss
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.model.adapters import add_lora, merge
from sayso.model.score import add_score, normalise
from sayso.reply.conversation import Replier
from sayso.report.reliability import reliability_picture
from sayso.run.results import Trained, trained
from sayso.sample.sampling import Sampling
from sayso.text.rows import ReadsRows, report_rows
from sayso.token.chat import prompt_ids
from sayso.token.load import load as load_tokenizer
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import TUNING, Adapting
from sayso.train.layout import layout_of_plan, layout_that_fits
from sayso.train.loop import State
from sayso.train.optimizers import make_optimizers
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, Session, open_session
from sayso.train.watch import Watch
from sayso.weights.folder import save_model
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

FEWEST = 8  # prompts that are held out, or none: fewer tell nothing
MAX_TOKENS = 120  # of a reply of the reference model


@dataclass(frozen=True)
class Reward(Adapting, ReadsRows):
    """Options of `sayso reward`."""

    _: KW_ONLY
    parent: str = "tuned"
    """The model to start from."""
    name: str = "reward"
    """What the new model is called; further members of an ensemble are called NAME-2 and so on."""
    pairs: tuple[Path, ...] = ()
    """Files of comparisons: prompt, chosen, rejected, and maybe margin, tie, and the group a prompt belongs to."""
    ratings: tuple[Path, ...] = ()
    """Files of ratings: prompt, reply, and good (true or false) or a rating."""
    epochs: Epochs = 1.0
    """Passes over the prompts."""
    rows: Rows = 16
    """Prompts of a batch, each with all its replies."""
    rate: Scale = 0.05
    """A factor on the learning rates of pre-training."""
    centre: Weight = 0.01
    """What keeps scores around 0: the weight of the squared sum of a pair's; 0 = off."""
    tie_width: Weight = 0.5
    """How far scores may be apart where replies are called equal."""
    spoil: Share = 0.0
    """Share of prompts that are also shown their best reply truncated, repeated or empty, as the worse one."""
    held_out: PartOf = 0.1
    """Share of the prompts that is not trained on, but chooses the weights and tells what the model knows; 0 = none."""
    members: Several = 1
    """Models to train, each from another seed: an ensemble."""
    reference: str | None = None
    """The model whose replies score 0 on average; the parent when not given."""
    samples: Amount = 64
    """Replies of the reference model that are scored for this; 0 = scores stay as they were learned."""


def reward(options: Reward) -> Trained:
    """Train a model that scores replies."""
    life = Life(options.life)
    gathered = life.data("feedback") / "pairs.jsonl"
    bad = BadRows(options.bad_rows)
    asked = questions(_rows(options, gathered, bad))
    train, held = hold_out_questions(asked, options.held_out)
    if len(held) < FEWEST:
        train, held = [*train, *held], []
    say(f"{len(train):,} prompts to train on and {len(held):,} held out.")
    names = [options.name, *(f"{options.name}-{number}" for number in range(2, options.members + 1))]
    members = [replace(options, name=name, seed=options.seed + number) for number, name in enumerate(names)]
    for member in members:
        _stage(member, life, gathered).check_places()
    made = []
    for member in members:
        with locked(life.model(member.name)):
            done = _member(member, life, gathered, train, held, bad)
            made.append(trained(life, "reward", member.name, finished_before=done))
    return replace(made[0], others=tuple(made[1:]))


def _stage(options: Reward, life: Life, gathered: Path) -> Session:
    parent = resolve_model(life, options.parent)
    files = {"feedback": gathered} | {str(path): path for path in (*options.pairs, *options.ratings)}
    return open_session(life, "reward", options.name, options, files | {options.parent: weights_file(parent)})


def _rows(options: Reward, gathered: Path, bad: BadRows) -> list[ComparisonRow]:
    """Return all comparisons and ratings there are."""
    check_listed(gathered.parent, gathered.name)
    files = [*([gathered] if gathered.exists() else []), *options.pairs]
    tokenizer = load_tokenizer(resolve_model(Life(options.life), options.parent))

    def check(row: ComparisonRow) -> None:
        prompt_ids(tokenizer, row["prompt"])

    rows = [row for path in files for row in read_pairs(path, bad, ties=True, check=check)]
    rows += [row for path in options.ratings for row in read_ratings(path, bad, numbers=True, check=check)]
    report_rows(bad)
    if not rows:
        raise UserError(
            "A reward model learns from what people said: gather ratings from the page (sayso gather), or bring a file "
            "with --pairs or --ratings."
        )
    return rows


def _member(
    options: Reward, life: Life, gathered: Path, train: list[Question], held: list[Question], bad: BadRows
) -> bool:
    """Train one model of the ensemble; return whether it was trained before."""
    parent, stage = resolve_model(life, options.parent), _stage(options, life, gathered)
    reference = resolve_model(life, options.reference or options.parent)
    device = pick_device(options.device)
    model, tokenizer = stage.open(parent, device.kind, plain=True, restart=options.restart)
    lora = options.lora(model)
    how, turned = loss_of(options.tie_width, options.centre, train)
    context = model.config.context
    learned = tokenized(spoil(train, options.spoil, options.seed), tokenizer, context, **turned)
    judge = reward_eval(learned, tokenized(held, tokenizer, context, **turned), how, options.rows)
    if left := len(train) + len(held) - len(learned) - len(judge.asked):
        say(f"Left out {left:,} prompts that are longer than the context of {context} with a reply.")
    batches = JudgedBatches([judged for _, judged in learned], options.rows, context, options.seed)
    steps = max(1, round(options.epochs * batches.steps_per_epoch))

    def derive() -> Derived:
        counts = {"steps": steps, "prompts": len(learned), "held_out": len(judge.asked), "ratings": turned}
        layout = layout_that_fits(options, model.config, options.rows, 2 * WIDTH_STEP, device, lora=lora is not None)
        given = {"layout": asdict(layout), "lora": asdict(lora) if lora else None}
        return counts | given | {"bad_rows": bad.facts()}

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The reward model '{options.name}' is trained already with these options and ratings.")
        return True
    say(f"'{options.name}': {len(learned):,} prompts; {steps:,} steps of {options.rows}.")
    generator = torch.Generator().manual_seed(options.seed)
    if lora:
        add_lora(model, lora, generator)
    add_score(model, generator).train()
    state = State(model, make_optimizers(model, TUNING.times(options.rate)))

    def loss(model: Transformer, batch: Batch) -> Term:
        assert isinstance(batch, JudgedBatch)
        return reward_loss(model, batch, how)

    with act_log(life, "reward", options.name, options) as log:
        stage.train(
            state,
            batches,
            loss,
            Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0),
            layout_of_plan(derived["layout"], options, options.rows, device),
            options,
            log,
            judging=judge.judging(steps),
            watch=Watch(),
        )
        merge(model.eval())
        figures = _account(judge, model, tokenizer, stage, log)
        scale = _normalised(model, tokenizer, stage, reference, options, [one for one, _ in learned])
        lineage = stage.lineage("reward", parent, derived, state)
        lineage["metrics"] |= figures | scale
        save_model(model, tokenizer, life.model(options.name), lineage)
    say(f"Saved {life.model(options.name)}.")
    return False


def _account(
    judge: RewardEval, model: Transformer, tokenizer: Tokenizer, stage: Session, log: RunLog
) -> dict[str, Any]:
    """Say and write what a model knows of what was held out; return the figures of its card."""
    if not judge.asked:
        say("Nothing is held out, so what it knows is not told; bring more comparisons, or raise --held-out.")
        return {}
    found, adversarial = judge.known(model), judge.spoiled(model, tokenizer)
    warnings = report_reward(stage.name, found, adversarial)
    log.write("reward", **as_json(found, adversarial), warnings=warnings)
    write_json(stage.folder / "reward.json", as_json(found, adversarial), sealed=True)
    if found.bins:
        reliability_picture(stage.name, found.bins, stage.folder / "reliability.svg")
    return {"accuracy": found.accuracy.mean, "length_accuracy": found.length_accuracy.mean}


def _normalised(
    model: Transformer,
    tokenizer: Tokenizer,
    stage: Session,
    reference: Path,
    options: Reward,
    asked: Sequence[Question],
) -> Derived:
    """Turn a model's scores by those of sampled replies of the reference; return their mean and deviation before."""
    if not options.samples:
        return {}
    replier = Replier(*stage.open(reference, str(model.device)))
    if not replier.converses:
        say("The reference model has no layout for conversations, so scores stay as they were learned.")
        return {}
    context = min(model.config.context, replier.context)
    scorer, longest = Scorer([model], tokenizer), min(MAX_TOKENS, context // 2)
    room = context - longest - 1
    prompts = [one.prompt for one in asked if len(replier.prompt_ids(one.prompt)) <= room][: options.samples]
    said = replier.replies(prompts, Sampling(temperature=1.0, max_tokens=longest, seed=options.seed))
    rows = [scorer.row(prompt, one.text) for prompt, one in zip(prompts, said, strict=True)]
    rows = [row for row in rows if sum(map(len, row)) <= model.config.context]  # text may take more ids than it was
    if len(rows) < 2:
        say("Fewer than two prompts leave room for a reply, so scores stay as they were learned.")
        return {}
    scores = scorer.combined(scorer.members(rows))
    mean, std = float(scores.mean()), float(scores.std())
    if not std > 0:
        raise UserError(
            "The reference model's replies all have one score; raise --rate or --epochs, or add --samples 0."
        )
    normalise(model, mean, std)
    say(f"Replies of '{options.reference or options.parent}' scored {mean:.2f} +- {std:.2f}, and score 0 +- 1 now.")
    return {"reference_mean": mean, "reference_std": std}
