"""Fine-tunes and evaluates the model of a round of self-improvement.

Each round trains in its own run, such as `improve-NAME-1`, which can be interrupted like any other; its evaluation is
logged by the run of all rounds.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from typing_extensions import override

from sayso.align.improve.sampling import PracticeSet
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import reward
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.lock import locked
from sayso.base.log import RunLog, read_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Epochs, Rows, Scale
from sayso.batch.chat import ChatBatches, fit_rows
from sayso.judge.samples import Samples
from sayso.judge.statistics.estimate import estimate
from sayso.loss.next_token import batch_loss
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, tuning_state
from sayso.train.layout import Layout, layout_for
from sayso.train.loop import State
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived, Session
from sayso.train.tune import Start, Tuning, tune

_SHOWN = 6  # held-out prompts whose replies are shown before and after
_ROW_STEP = 64  # tokens per row are a multiple of this
_PER_ROW = 4  # number of the longest conversations that fit into a row


@dataclass(frozen=True)
class RoundOptions(Adapting):
    """Options for tuning the model of each round."""

    _: KW_ONLY
    epochs: Epochs = 2.0
    """Passes per round over all replies kept so far."""
    rows: Rows = 16
    """Rows per batch, each packed with whole conversations."""
    rate: Scale = 0.5
    """Multiplier on the pre-training learning rates."""


def check_rounds(session: Session, rounds: int, inputs: Iterable[Path]) -> None:
    """Raise `UserError` if a round would overwrite another run's model, or a file that the run reads."""
    parts = [session.part(number) for number in range(1, rounds + 1)]
    check_apart([session.life.model(part.name) for part in parts], list(inputs))
    for part in parts:
        part.check_places()


def check_tuning(options: RoundOptions, model: Transformer) -> None:
    """Raise `UserError` for options with which `model` cannot be fine-tuned."""
    options.lora(model)
    layout_for(options, options.rows, pick_device(options.device))


def tune_round(
    options: RoundOptions, session: Session, rows: Sequence[Mapping[str, Any]], parent: Path, number: int
) -> Path:
    """Tune `parent` on conversations, unless this was done before, and return the folder of the round's model."""
    part = session.part(number, {"kept": _mark(rows)})
    folder = part.life.model(part.name)
    with locked(folder):
        tune(options, part, parent, lambda start: RoundTuning(start, options, rows, number))
    return folder


class RoundTuning(Tuning):
    """Fine-tuning of one round, on conversations that are not split."""

    stage = "improved"

    def __init__(self, start: Start, options: RoundOptions, rows: Sequence[Mapping[str, Any]], number: int) -> None:
        super().__init__(start)
        self.options, self.rows, self.seed, self.number = options, options.rows, options.seed + number, number
        context = start.model.config.context
        self.kept, long = fit_rows([render(start.tokenizer, row["messages"]) for row in rows], context)
        if not self.kept:
            raise UserError(
                "No reply was kept, so there is nothing to tune on: use easier prompts or more --replies, or inspect "
                "the replies in the run's log to see why the reward rejects them."
            )
        if long:
            say(f"Left out {len(long):,} replies that exceed the context of {context} tokens.")
        longest = max(len(ids) for ids, _ in self.kept)
        self.row_tokens = min(context, -(-_PER_ROW * longest // _ROW_STEP) * _ROW_STEP)

    @override
    def derive(self, layout: Layout) -> Derived:
        """Return no values: the number of steps follows from the replies."""
        return {}

    @override
    def state(self) -> State:
        """Return a state that trains the model or its adapters."""
        return tuning_state(self.start.model, self.start.lora, self.options.rate, self.seed)

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return batches of conversations and the next-token loss."""
        batches = ChatBatches(self.kept, self.rows, self.row_tokens, self.seed)
        steps = max(1, round(self.options.epochs * batches.steps_per_epoch))
        say(
            f"Round {self.number}: {len(self.kept):,} replies; {steps:,} steps of {self.rows} rows x "
            f"{self.row_tokens} tokens."
        )
        return Recipe(batches, batch_loss, tuning_schedule(steps))


@dataclass
class Judge:
    """Evaluates each round's model on held-out prompts."""

    practice: PracticeSet
    prompts: Sequence[Prompt]
    tokenizer: Tokenizer
    log: RunLog
    scores: dict[int, float] = field(default_factory=dict)
    """Score by round, 0 for the parent; those of a resumed run are read from its log."""

    def __post_init__(self) -> None:
        events = read_log(self.log.path)
        self.scores = {event["step"]: event["score"] for event in events if event["event"] == "round"}

    @property
    def best(self) -> int:
        """Round with the best score; the first of equal ones."""
        return max(self.scores, key=lambda number: (self.scores[number], -number))

    def score(self, model: Transformer, number: int, figures: Mapping[str, Any] | None = None) -> None:
        """Evaluate a round's model by greedy decoding, unless this was done before; log and print the result."""
        if number in self.scores:
            return
        result = {**(figures or {}), **self._evaluate(Replier(model, self.tokenizer))}
        self._samples().take(model, number)
        self.log.write("round", step=number, **result)
        say(_summary(number, result))
        if self.scores and result["score_high"] < (best := max(self.scores.values())):
            warn_round(self.log, number, best, "--epochs or --rate, or raise --replies")
        self.scores[number] = result["score"]

    def show(self) -> None:
        """Print replies of the parent next to those of the last round."""
        self._samples().show()

    def _evaluate(self, replier: Replier) -> dict[str, Any]:
        replies = replier.replies([p.messages for p in self.prompts], replace(self.practice.sampling, temperature=0.0))
        values = [
            reward(self.practice.rewards, prompt, one.text).total
            for prompt, one in zip(self.prompts, replies, strict=True)
        ]
        levels: dict[float, list[float]] = {}
        for prompt, value in zip(self.prompts, values, strict=True):
            levels.setdefault(self.practice.curriculum.level(prompt), []).append(value)
        score = estimate(values)
        return {
            "score": score.mean,
            "score_low": score.low,
            "score_high": score.high,
            "length": fmean(one.completion_tokens for one in replies),
            "levels": {f"{level:g}": fmean(own) for level, own in sorted(levels.items())},
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
    """Log and print that a round is significantly worse than the best one before it; `less` is what to lower."""
    problem = (
        f"The score has dropped from {best:.3f}: the model was tuned too long on few replies, or on wrong ones; lower "
        f"{less}."
    )
    log.write("warning", step=number, problem=problem)
    say(problem)


def _summary(number: int, result: Mapping[str, Any]) -> str:
    parts = []
    if "kept" in result:
        parts.append(
            f"solved {result['solved']:.0%} of {result['prompts']:,} prompts, kept {result['kept']:,} replies "
            f"({result['kept_right']:.0%} correct, {result['rationalised']:,} after a hint)"
        )
    parts.append(f"held-out score {result['score']:.3f} ({result['score_low']:.3f} to {result['score_high']:.3f})")
    if len(result["levels"]) > 1:
        parts.append("by difficulty " + ", ".join(f"{level}: {score:.2f}" for level, score in result["levels"].items()))
    return f"Round {number}: {'; '.join(parts)}."


def _mark(rows: Sequence[Mapping[str, Any]]) -> str:
    return sha256(json.dumps(list(rows)).encode()).hexdigest()
