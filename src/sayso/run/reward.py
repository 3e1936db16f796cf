"""Act: train a reward model, or an ensemble of them, on comparisons and ratings.

Input: comparisons and ratings, gathered from the web page and from files. Output: `models/reward`. Held-out prompts
select the weights and measure accuracy against a baseline that knows only the length of replies. Scores are normalized
so that replies of the reference model have mean 0 and standard deviation 1 (Stiennon et al. 2020).
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

FEWEST = 8  # minimum number of held-out prompts; with fewer, none are held out
_MAX_TOKENS = 120  # of a reply of the reference model


@dataclass(frozen=True)
class Reward(Adapting, ReadsRows):
    """Options of `sayso reward`."""

    _: KW_ONLY
    parent: str = "tuned"
    """Model to start from."""
    name: str = "reward"
    """Name of the new model; further members of an ensemble are called NAME-2 and so on."""
    pairs: tuple[Path, ...] = ()
    """Files of comparisons: prompt, chosen, rejected; optionally margin, tie, and group (of related prompts)."""
    ratings: tuple[Path, ...] = ()
    """Files of ratings: prompt, reply, and either good (true or false) or rating (a number)."""
    epochs: Epochs = 1.0
    """Passes over the prompts."""
    rows: Rows = 16
    """Prompts per batch, each with all its replies."""
    rate: Scale = 0.05
    """Multiplier on the pre-training learning rates."""
    centre: Weight = 0.01
    """Weight of the centering loss, the squared sum of a pair's scores, which keeps scores around 0; 0 = off."""
    tie_width: Weight = 0.5
    """Score difference up to which replies marked as ties count as equal."""
    spoil: Share = 0.0
    """Share of prompts augmented with a degraded best reply (truncated, repeated or empty) as the worse one."""
    held_out: PartOf = 0.1
    """Share of the prompts held out to select the weights and to evaluate the model; 0 = none."""
    members: Several = 1
    """Number of models in the ensemble, each trained with its own seed."""
    reference: str | None = None
    """Model whose replies define a mean score of 0. Default: the parent."""
    samples: Amount = 64
    """Reference replies scored for this normalization; 0 = do not normalize scores."""


def reward(options: Reward) -> Trained:
    """Train a reward model on comparisons and ratings."""
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
    """Return all comparisons and ratings."""
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
            "A reward model needs comparisons or ratings: gather them from the web page (sayso gather), or pass a file "
            "with --pairs or --ratings."
        )
    return rows


def _member(
    options: Reward, life: Life, gathered: Path, train: list[Question], held: list[Question], bad: BadRows
) -> bool:
    """Train one member of the ensemble."""
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
        say(f"Left out {left:,} prompts that, with a reply, exceed the context of {context} tokens.")
    batches = JudgedBatches([judged for _, judged in learned], options.rows, context, options.seed)
    steps = max(1, round(options.epochs * batches.steps_per_epoch))

    def derive() -> Derived:
        counts = {"steps": steps, "prompts": len(learned), "held_out": len(judge.asked), "ratings": turned}
        layout = layout_that_fits(options, model.config, options.rows, 2 * WIDTH_STEP, device, lora=lora is not None)
        given = {"layout": asdict(layout), "lora": asdict(lora) if lora else None}
        return counts | given | {"bad_rows": bad.facts()}

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The reward model '{options.name}' has already been trained with these options and ratings.")
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
    """Report and write the evaluation on held-out prompts; return the metrics for the model card."""
    if not judge.asked:
        say("No prompts are held out, so the model is not evaluated; provide more comparisons, or raise --held-out.")
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
    """Normalize a model's scores by sampled replies of the reference; return their mean and deviation before that."""
    if not options.samples:
        return {}
    replier = Replier(*stage.open(reference, str(model.device)))
    if not replier.converses:
        say("The reference model has no chat template, so scores are not normalized.")
        return {}
    context = min(model.config.context, replier.context)
    scorer, longest = Scorer([model], tokenizer), min(_MAX_TOKENS, context // 2)
    room = context - longest - 1
    prompts = [one.prompt for one in asked if len(replier.prompt_ids(one.prompt)) <= room][: options.samples]
    said = replier.replies(prompts, Sampling(temperature=1.0, max_tokens=longest, seed=options.seed))
    rows = [scorer.row(prompt, one.text) for prompt, one in zip(prompts, said, strict=True)]
    rows = [row for row in rows if sum(map(len, row)) <= model.config.context]  # re-encoded text may take more tokens
    if len(rows) < 2:
        say("Fewer than two prompts leave room for a reply, so scores are not normalized.")
        return {}
    scores = scorer.combined(scorer.members(rows))
    mean, std = float(scores.mean()), float(scores.std())
    if not std > 0:
        raise UserError(
            "The reference model's replies all have the same score; raise --rate or --epochs, or pass --samples 0."
        )
    normalise(model, mean, std)
    say(f"Replies of '{options.reference or options.parent}' scored {mean:.2f} ± {std:.2f}; normalized to 0 ± 1.")
    return {"reference_mean": mean, "reference_std": std}
