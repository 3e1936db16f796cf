"""Fine-tunes and evaluates the model of a round of self-improvement.

A round's training is a separate run, `improve-NAME-1`, which can be interrupted like any other; its evaluation is a
line in the log of the whole run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from sayso.align.improve.sampling import PracticeSet
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import reward
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.lock import locked
from sayso.base.log import RunLog, act_log, read_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Epochs, Rows, Scale
from sayso.batch.chat import ChatBatches, fit_rows
from sayso.judge.samples import Samples
from sayso.judge.stats import estimate
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, save_tuned, tuning_state
from sayso.train.layout import batch_loss, layout_for, layout_of_plan, layout_that_fits
from sayso.train.schedule import Schedule
from sayso.train.session import Session

_SHOWN = 6  # held-out prompts whose replies are shown before and after
_ROW = 64  # a row's tokens are a multiple of it
_LONGEST = 4  # so many of the longest conversation fit into a row


@dataclass(frozen=True)
class Tuning(Adapting):
    """Options by which each round's model is tuned."""

    _: KW_ONLY
    epochs: Epochs = 2.0
    """Passes per round over all replies kept so far."""
    rows: Rows = 16
    """Rows per batch, each packed with whole conversations."""
    rate: Scale = 0.5
    """Multiplier on the pre-training learning rates."""


def check_rounds(stage: Session, rounds: int, inputs: Iterable[Path]) -> None:
    """Raise `UserError` where the places of a round are taken, or what the run reads lies in one of its models."""
    parts = [stage.part(number) for number in range(1, rounds + 1)]
    check_apart([stage.life.model(part.name) for part in parts], list(inputs))
    for part in parts:
        part.check_places()


def check_tuning(options: Tuning, model: Transformer) -> None:
    """Raise `UserError` for options with which `model` cannot be fine-tuned."""
    options.lora(model)
    layout_for(options, options.rows, pick_device(options.device))


def tune_round(options: Tuning, stage: Session, rows: Sequence[Mapping[str, Any]], parent: Path, number: int) -> Path:
    """Tune `parent` on conversations and return the folder of the round's model; at once where it is there already."""
    inner = stage.part(number, {"kept": _mark(rows)})
    folder = stage.life.model(inner.name)
    with locked(folder):
        _tune_round(options, inner, rows, parent, number)
    return folder


def _tune_round(options: Tuning, inner: Session, rows: Sequence[Mapping[str, Any]], parent: Path, number: int) -> None:
    name = inner.name
    device = pick_device(options.device)
    model, tokenizer = inner.open(parent, device.kind, plain=True)
    lora = options.lora(model)
    kept, long = fit_rows([render(tokenizer, row["messages"]) for row in rows], model.config.context)
    if not kept:
        raise UserError(
            "No reply was kept, so there is nothing to tune on: take easier prompts or more --replies, or look at the "
            "replies in the run's log for what the reward misses."
        )
    if long:
        say(f"Left out {len(long):,} replies that exceed the context of {model.config.context} tokens.")
    longest = max(len(ids) for ids, _ in kept)
    context = min(model.config.context, -(-_LONGEST * longest // _ROW) * _ROW)
    batches = ChatBatches(kept, options.rows, context, options.seed + number)
    steps = max(1, round(options.epochs * batches.steps_per_epoch))

    def derive() -> dict[str, Any]:
        layout = layout_that_fits(options, model.config, options.rows, context, device, lora=lora is not None)
        return {"layout": asdict(layout), "lora": asdict(lora) if lora else None}

    derived = inner.plan(derive, options.restart)
    if derived is None:
        return
    say(f"Round {number}: {len(kept):,} replies; {steps:,} steps of {options.rows} rows x {context} tokens.")
    state = tuning_state(model, lora, options.rate, options.seed + number)
    with act_log(inner.life, inner.act, name, options) as log:
        schedule = Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0)
        layout = layout_of_plan(derived["layout"], options, options.rows, device)
        inner.train(state, batches, batch_loss, schedule, layout, options, log)
        lineage = inner.lineage("improved", parent, derived, state)
        save_tuned(model, lora, tokenizer, inner.life.model(name), lineage, parent)


@dataclass
class Judge:
    """The held-out prompts and the score of each round's model on them."""

    practice: PracticeSet
    prompts: Sequence[Prompt]
    tokenizer: Tokenizer
    log: RunLog
    scores: dict[int, float] = field(default_factory=dict)
    """By round; 0 is the parent. The scores of a resumed run are read from its log."""

    def __post_init__(self) -> None:
        events = read_log(self.log.path)
        self.scores = {event["step"]: event["score"] for event in events if event["event"] == "round"}

    @property
    def best(self) -> int:
        """The round with the best score, the first of equal ones."""
        return max(self.scores, key=lambda number: (self.scores[number], -number))

    def score(self, model: Transformer, number: int, figures: Mapping[str, Any] | None = None) -> None:
        """Evaluate a round's model by greedy replies, log and print the result; once."""
        if number in self.scores:
            return
        told = {**(figures or {}), **self._judged(Replier(model, self.tokenizer))}
        self._samples().take(model, number)
        self.log.write("round", step=number, **told)
        say(_sentence(number, told))
        if self.scores and told["score_high"] < (best := max(self.scores.values())):
            warn_round(self.log, number, best, "--epochs or --rate, or raise --replies")
        self.scores[number] = told["score"]

    def show(self) -> None:
        """Print replies of the first model next to those of the last."""
        self._samples().show()

    def _judged(self, replier: Replier) -> dict[str, Any]:
        said = replier.replies([p.messages for p in self.prompts], replace(self.practice.sampling, temperature=0.0))
        values = [
            reward(self.practice.rewards, prompt, one.text).total
            for prompt, one in zip(self.prompts, said, strict=True)
        ]
        levels: dict[float, list[float]] = {}
        for prompt, value in zip(self.prompts, values, strict=True):
            levels.setdefault(self.practice.curriculum.level(prompt), []).append(value)
        whole = estimate(values)
        return {
            "score": whole.mean,
            "score_low": whole.low,
            "score_high": whole.high,
            "length": fmean(one.completion_tokens for one in said),
            "levels": {f"{level:g}": fmean(found) for level, found in sorted(levels.items())},
        }

    def _samples(self) -> Samples:
        step = max(1, len(self.prompts) // _SHOWN)
        shown = list(self.prompts)[::step][:_SHOWN]
        return Samples(
            self.tokenizer,
            [prompt.messages for prompt in shown],
            self.log,
            replace(self.practice.sampling, temperature=0.0),
            lambda number, text: reward(self.practice.rewards, shown[number], text).total,
        )


def warn_round(log: RunLog, number: int, best: float, less: str) -> None:
    """Report and log that a round is significantly worse than the best one before it."""
    problem = f"It has fallen from {best:.3f}: it was tuned too long on few replies, or on wrong ones; lower {less}."
    log.write("warning", step=number, problem=problem)
    say(problem)


def _sentence(number: int, told: Mapping[str, Any]) -> str:
    parts = [f"Round {number}"]
    if "kept" in told:
        parts.append(
            f"solved {told['solved']:.0%} of {told['prompts']:,} prompts, kept {told['kept']:,} replies "
            f"({told['kept_right']:.0%} right, {told['rationalised']:,} after a hint)"
        )
    parts.append(f"held-out {told['score']:.3f} ({told['score_low']:.3f} to {told['score_high']:.3f})")
    if len(told["levels"]) > 1:
        parts.append("by difficulty " + ", ".join(f"{level}: {score:.2f}" for level, score in told["levels"].items()))
    return "; ".join([f"{parts[0]}: {parts[1]}", *parts[2:]]) + "."


def _mark(rows: Sequence[Mapping[str, Any]]) -> str:
    return sha256(json.dumps(list(rows)).encode()).hexdigest()
