"""Alignment on preferences with DPO, IPO, KTO, ORPO or SimPO, as a method of tuning.

DPO is combined with the language-modeling loss on the chosen replies, so that their likelihood does not fall together
with that of the rejected ones (Pang et al. 2024).
"""

import json
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from typing_extensions import override

from sayso.align.pairs.comparisons import ComparisonRow
from sayso.align.pairs.preference import WITH_REFERENCE, LossName, Preference, term_of
from sayso.align.pairs.preference_eval import PreferenceEval, samples_of
from sayso.align.pairs.references import make_references
from sayso.align.pairs.sources import (
    HELD_OUT,
    Comparisons,
    Parts,
    comparisons,
    hold_out_pairs,
    open_comparisons,
    prompt_key,
    read_comparisons,
    read_file,
    write_comparisons,
)
from sayso.align.pairs.world_pairs import world_pairs
from sayso.align.replay import Replay
from sayso.base.errors import UserError, nearest
from sayso.base.hold_out import HeldOut, HoldOut, held_out_file, separate
from sayso.base.jsonl import BadRows
from sayso.base.log import RunLog, say
from sayso.base.ranges import Amount, Epochs, Range, Repeats, Replies, Rows, Scale, SecondShare, Weight
from sayso.batch.pairs import WIDTH_STEP, PairBatches
from sayso.batch.ratings import RatingBatches
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.text.rows import ReadsRows
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, tuning_state
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived
from sayso.train.tune import Start, Tuning
from sayso.train.watch import Watch
from sayso.weights.tensors import weights_file

LOSS_DEFAULTS: dict[str, dict[str, float]] = {
    "dpo": {"beta": 0.1, "nll": 1.0, "rate": 0.05},
    "ipo": {"beta": 0.1, "nll": 0.0, "rate": 0.3},
    "kto": {"beta": 0.1, "nll": 0.0, "rate": 0.3},
    "orpo": {"beta": 1.0, "nll": 0.0, "rate": 0.3},
    "simpo": {"beta": 2.0, "nll": 0.0, "rate": 0.3, "margin": 1.0},
}
"""Default hyperparameters of each loss."""
TASKS = 1600  # default of --tasks


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
    replay: SecondShare = 0.0
    """Share of prepared documents in every batch, so that the model forgets less of its pre-training; 0 = none."""
    rate: Scale | None = None
    """Multiplier on the pre-training learning rates. Default: 0.05 for dpo, else 0.3."""
    feedback_weight: Repeats = 4
    """Number of times each user-rated pair is repeated."""
    held_out: HeldOut | None = None
    """Share, number or file of comparisons held out to select the weights; 0 = none. Default: 1/16, at most 64."""


class Alignment(Tuning):
    """Alignment of a model; `feedback` is the folder of gathered ratings."""

    stage = "aligned"
    row_tokens = 2 * WIDTH_STEP

    def __init__(self, start: Start, options: Align, feedback: Path) -> None:
        super().__init__(start)
        self.options, self.feedback, self.rows = options, feedback, options.rows
        self.replay = Replay.open(start, options.replay, options.seed)
        self._data: Comparisons | None = None

    @property
    def data(self) -> Comparisons:
        """Comparisons of the run; those of a resumed run are read from its folder."""
        if self._data is None:
            self._data = self._open(read_comparisons(self.start.session.folder))
        return self._data

    @override
    def derive(self, layout: Layout) -> Derived:
        """Sample, read and hold out the comparisons."""
        bad = BadRows(self.options.bad_rows)
        train, held = _make_comparisons(self.options, self.start.model, self.start.tokenizer, self.feedback, bad)
        self._data = self._open((train, held))
        preference = asdict(_preference(self.options, self.data.train))
        return {"pairs": len(train), "held_out": len(held), "bad_rows": bad.facts(), "preference": preference}

    @override
    def keep(self) -> None:
        """Write the comparisons."""
        write_comparisons(self.start.session.folder, self.data.parts)

    @override
    def state(self) -> State:
        """Return a state that trains the policy or its adapters."""
        start = self.start
        return tuning_state(start.model, start.lora, _value_of(self.options, "rate"), self.options.seed)

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return batches of comparisons and the preference loss."""
        start, options, data = self.start, self.options, self.data
        steps = max(1, round(options.epochs * data.train.steps_per_epoch))
        say(f"{data.summary}; {steps:,} steps of {options.rows}.")
        preference = _preference(options, data.train)
        kind = options.reference or ("copy" if preference.loss in WITH_REFERENCE else None)
        folder, weights, adapted = start.session.folder, weights_file(start.parent), start.lora is not None
        train, held = make_references(kind, folder, start.model, weights, data, adapted=adapted)
        samples = samples_of(start.tokenizer, data.rows, log, options.seed)
        self._evaluation = PreferenceEval(preference, data.held, samples, held, self.replay.forgetting)
        self._evaluation.first(start.model)
        evaluation = self._evaluation.schedule(steps)
        batches = self.replay.batches(data.train, lambda _: options.rows)
        loss = self.replay.loss(term_of(preference, train))
        return Recipe(batches, loss, tuning_schedule(steps), evaluation, watch=Watch())

    @override
    def finish(self, state: State, log: RunLog) -> None:
        """Show the first replies next to the last."""
        self._evaluation.last(self.start.session, state)

    def _open(self, parts: Parts) -> Comparisons:
        start, options = self.start, self.options
        return open_comparisons(parts, start.tokenizer, options.rows, start.model.config.context, options.seed)


def check_align(options: Align) -> None:
    """Raise `UserError` for options that the selected loss does not have."""
    if options.loss not in LOSS_DEFAULTS:
        raise UserError(
            f"--loss must be one of {', '.join(LOSS_DEFAULTS)}; got '{options.loss}'."
            f"{nearest(options.loss, LOSS_DEFAULTS)}"
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


def _value_of(options: Align, name: str) -> float:
    """Return the value of an option, or the default of the selected loss."""
    value = getattr(options, name)
    return float(LOSS_DEFAULTS[options.loss].get(name, 0.0) if value is None else value)


def _preference(options: Align, train: PairBatches | RatingBatches) -> Preference:
    weight = options.good_weight
    if weight is None:
        weight = train.bad / train.good if isinstance(train, RatingBatches) else 1.0
    numbers = {name: _value_of(options, name) for name in ("beta", "nll", "margin")}
    return Preference(
        options.loss,
        **numbers,
        smoothing=options.smoothing,
        robust=options.robust,
        average=options.average,
        good_weight=weight,
    )


def _make_comparisons(options: Align, model: Transformer, tokenizer: Tokenizer, feedback: Path, bad: BadRows) -> Parts:
    """Return the comparisons to train on, and the held-out ones, deduplicated."""
    tasks = (0 if options.pairs else TASKS) if options.tasks is None else options.tasks

    def program() -> list[ComparisonRow]:
        return world_pairs(Replier(model, tokenizer), tasks, options.replies, options.seed) if tasks else []

    def check(row: ComparisonRow) -> None:
        prompt_ids(tokenizer, row["prompt"])

    ratings, file = options.loss == "kto", held_out_file(options.held_out)
    sources = (options.pairs, feedback, options.feedback_weight, program)
    rows = comparisons(*sources, bad, ratings=ratings, check=check)
    if not rows and tasks:
        raise UserError(f"All replies to the {tasks:,} tasks were correct, so there are no pairs; raise --tasks.")
    if not rows and options.pairs:
        raise UserError(f"--pairs needs at least one pair; '{options.pairs}' has none.")
    if not rows:
        raise UserError("Alignment needs pairs: collect ratings first (sayso gather), or set --tasks above 0.")
    if file:
        held = read_file(file, bad, ratings=ratings, check=check)
        train, _ = separate(rows, map(prompt_key, held), prompt_key)
        if not train:
            raise UserError(f"--held-out '{file}' contains all prompts, so none are left to train on; shorten it.")
        return train, _distinct(held)
    assert not isinstance(options.held_out, Path)
    train, held = hold_out_pairs(rows, HELD_OUT if options.held_out is None else HoldOut(options.held_out))
    return train, _distinct(held)


def _distinct(rows: list[ComparisonRow]) -> list[ComparisonRow]:
    return list({json.dumps(row, sort_keys=True): row for row in rows}.values())
