"""Act: train a model on preferences with DPO, IPO, KTO, ORPO or SimPO.

Input: comparisons, which come from a checker's scores of the model's own replies, from ratings collected on the web
page, or from a file. Output: `models/aligned`. DPO adds the language-modeling loss on the chosen replies, so that
their likelihood does not fall together with that of the rejected ones (Pang et al. 2024).
"""

import json
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from sayso.align.pairs.comparisons import ComparisonRow
from sayso.align.pairs.preference import WITH_REFERENCE, LossName, Preference, term_of
from sayso.align.pairs.preference_eval import PreferenceEval, samples_of
from sayso.align.pairs.references import make_references
from sayso.align.pairs.sources import (
    PAIRS,
    RATINGS,
    Comparisons,
    Parts,
    comparisons,
    hold_out_pairs,
    open_comparisons,
    read_comparisons,
    write_comparisons,
)
from sayso.align.pairs.world_pairs import world_pairs
from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import alone, model_place
from sayso.base.log import act_log, say
from sayso.base.ranges import Amount, Count, Epochs, Range, Repeats, Replies, Rows, Scale, Weight
from sayso.batch.pairs import WIDTH_STEP, PairBatches
from sayso.batch.ratings import RatingBatches
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.run.results import Trained, trained
from sayso.text.rows import ReadsRows
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, save_tuned, tuning_state
from sayso.train.layout import layout_of_plan, layout_that_fits
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, open_session
from sayso.train.watch import Watch
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

USUAL: dict[str, dict[str, float]] = {
    "dpo": {"beta": 0.1, "nll": 1.0, "rate": 0.05},
    "ipo": {"beta": 0.1, "nll": 0.0, "rate": 0.3},
    "kto": {"beta": 0.1, "nll": 0.0, "rate": 0.3},
    "orpo": {"beta": 1.0, "nll": 0.0, "rate": 0.3},
    "simpo": {"beta": 2.0, "nll": 0.0, "rate": 0.3, "margin": 1.0},
}
"""Default hyperparameters of each loss."""
TASKS = 1600


@dataclass(frozen=True)
class Align(Adapting, ReadsRows):
    """Options of `sayso align`."""

    _: KW_ONLY
    parent: str = "tuned"
    """Model to start from; also the reference model."""
    name: str = "aligned"
    """Name of the new model."""
    loss: LossName = "dpo"
    """Loss function: dpo, ipo, kto (single ratings), orpo or simpo (the last two need no reference)."""
    reference: Literal["copy", "cache"] | None = None
    """Reference model: a frozen copy, or cached log-probabilities. Default: a copy; with LoRA, the base weights."""
    pairs: Path | None = None
    """JSON Lines file of pairs or, for kto, of ratings; see docs/alignment.md."""
    tasks: Amount | None = None
    """Small-world tasks whose sampled replies are scored and paired. Default: 1600, or 0 with --pairs."""
    replies: Replies = 4
    """Replies sampled per task."""
    epochs: Epochs = 1.0
    """Passes over the comparisons."""
    rows: Rows = 16
    """Pairs or ratings per batch."""
    beta: Scale | None = None
    """Strength of the KL constraint; smaller values let the policy drift further. Default: 0.1; simpo 2; orpo 1."""
    nll: Weight | None = None
    """Weight of the language-modeling loss on the chosen replies. Default: 1 for dpo, else 0."""
    margin: Weight | None = None
    """simpo: target reward margin (gamma). Default: 1."""
    smoothing: Annotated[float, Range(0, 0.5, below=True)] = 0.0
    """dpo: label smoothing, the assumed share of pairs with swapped labels."""
    robust: bool = False
    """dpo: use the unbiased robust loss for this share instead of label smoothing."""
    average: bool = False
    """ipo: average log-probabilities over the reply's tokens instead of summing them."""
    good_weight: Scale | None = None
    """kto: weight of a good rating relative to a bad one. Default: balances both classes."""
    rate: Scale | None = None
    """Multiplier on the pre-training learning rates. Default: 0.05 for dpo, else 0.3."""
    feedback_weight: Repeats = 4
    """Number of times each user-rated pair is repeated."""
    held_out: Count | None = None
    """Prompts held out to select the best weights. Default: 1/16 of them, at most 64. 0 = keep the last weights."""


@alone(model_place)
def align(options: Align) -> Trained:
    """Train a model on preferences: comparisons or ratings of replies."""
    _check(options)
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    feedback = life.data("feedback")
    inputs = {"feedback": feedback / PAIRS, options.parent: weights_file(parent)}
    inputs |= {"ratings": feedback / RATINGS} if options.loss == "kto" else {}
    inputs |= {"pairs": options.pairs} if options.pairs else {}
    stage = open_session(life, "align", options.name, options, inputs)
    device = pick_device(options.device)
    model, tokenizer = stage.open(parent, device.kind, plain=True, restart=options.restart)
    lora = options.lora(model)
    fresh: list[Comparisons] = []

    def opened(given: Parts) -> Comparisons:
        return open_comparisons(given, tokenizer, options.rows, model.config.context, options.seed)

    def derive() -> Derived:
        layout = layout_that_fits(options, model.config, options.rows, 2 * WIDTH_STEP, device, lora=lora is not None)
        bad = BadRows(options.bad_rows)
        given = _make_comparisons(options, model, tokenizer, feedback, bad)
        fresh.append(opened(given))
        sizes = {"pairs": len(given[0]), "held_out": len(given[1]), "bad_rows": bad.facts()}
        return {**sizes, "layout": asdict(layout), "lora": asdict(lora) if lora else None}

    derived = stage.plan(derive, options.restart, lambda: write_comparisons(stage.folder, fresh[0].given))
    if derived is None:
        say(f"The model '{options.name}' has already been trained with these options and ratings.")
        return trained(life, "align", options.name, finished_before=True)
    data = fresh[0] if fresh else opened(read_comparisons(stage.folder))
    preference = _preference(options, data.train)
    steps = max(1, round(options.epochs * data.train.steps_per_epoch))
    say(f"{data.told}; {steps:,} steps of {options.rows}.")
    state = tuning_state(model, lora, _usual(options, "rate"), options.seed)
    wanted = options.reference or ("copy" if preference.loss in WITH_REFERENCE else None)
    references = make_references(wanted, stage.folder, model, weights_file(parent), data, adapted=lora is not None)
    term = term_of(preference, references[0])
    with act_log(life, "align", options.name, options) as log:
        samples = samples_of(tokenizer, data.rows, log, options.seed)
        compared = PreferenceEval(preference, data.held, samples, references[1])
        compared.first(model)
        schedule = Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0)
        layout = layout_of_plan(derived["layout"], options, options.rows, device)
        judging = compared.judging(steps)
        stage.train(state, data.train, term, schedule, layout, options, log, judging=judging, watch=Watch())
        compared.last(stage, state)
        lineage = stage.lineage("aligned", parent, derived | {"preference": asdict(preference)}, state)
        save_tuned(model, lora, tokenizer, life.model(options.name), lineage, parent)
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "align", options.name)


def _check(options: Align) -> None:
    if options.loss not in USUAL:
        raise UserError(
            f"--loss must be one of {', '.join(USUAL)}; got '{options.loss}'.{nearest(options.loss, USUAL)}"
        )
    only = {"margin": "simpo", "smoothing": "dpo", "robust": "dpo", "average": "ipo", "good_weight": "kto"}
    for name, loss in only.items():
        if getattr(options, name) not in (None, 0, False) and options.loss != loss:
            raise UserError(f"--{name.replace('_', '-')} requires --loss {loss}; got --loss {options.loss}.")
    if options.reference == "cache" and (options.lora_rank or options.loss not in WITH_REFERENCE):
        what = "LoRA" if options.lora_rank else options.loss
        raise UserError(f"--reference cache replaces a copy of the model, which {what} does not need; omit it.")
    if options.robust and not options.smoothing:
        raise UserError("--robust requires --smoothing, the share of pairs with swapped labels.")


def _usual(options: Align, name: str) -> float:
    """Return an option as given, or the default for the loss."""
    given = getattr(options, name)
    return float(USUAL[options.loss].get(name, 0.0) if given is None else given)


def _preference(options: Align, train: PairBatches | RatingBatches) -> Preference:
    weight = options.good_weight
    if weight is None:
        weight = train.bad / train.good if isinstance(train, RatingBatches) else 1.0
    numbers = {name: _usual(options, name) for name in ("beta", "nll", "margin")}
    return Preference(
        options.loss,
        **numbers,
        smoothing=options.smoothing,
        robust=options.robust,
        average=options.average,
        good_weight=weight,
    )


def _make_comparisons(options: Align, model: Transformer, tokenizer: Tokenizer, feedback: Path, bad: BadRows) -> Parts:
    """Return the run's training comparisons and held-out comparisons; the latter are deduplicated."""
    tasks = (0 if options.pairs else TASKS) if options.tasks is None else options.tasks

    def program() -> list[ComparisonRow]:
        return world_pairs(Replier(model, tokenizer), tasks, options.replies, options.seed) if tasks else []

    ratings = options.loss == "kto"
    given = (options.pairs, feedback, options.feedback_weight, program, bad)
    rows = comparisons(*given, ratings=ratings, check=lambda row: prompt_ids(tokenizer, row["prompt"]))
    if not rows and tasks:
        raise UserError(f"All replies to the {tasks:,} tasks were correct, so there are no pairs; raise --tasks.")
    if not rows and options.pairs:
        raise UserError(f"--pairs needs at least one pair; '{options.pairs}' has none.")
    if not rows:
        raise UserError("Alignment needs pairs: collect ratings first (sayso gather), or set --tasks above 0.")
    train, held = hold_out_pairs(rows, options.held_out)
    return train, list({json.dumps(row, sort_keys=True): row for row in held}.values())
