"""Training of a reward model on comparisons and ratings, as a method of tuning.

Held-out prompts select the weights and measure the accuracy, relative to a baseline that uses only the length of
replies. Scores are normalized so that replies of the reference model have mean 0 and standard deviation 1 (Stiennon et
al. 2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from sayso.align.pairs.reward_data import Question, spoil, tokenized
from sayso.align.pairs.reward_eval import as_json, loss_of, report_reward, reward_eval
from sayso.align.scorer import Scorer
from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.hold_out import HeldOut
from sayso.base.jsonl import BadRows
from sayso.base.log import RunLog, say
from sayso.base.ranges import Amount, Epochs, Rows, Scale, Several, Share, Weight
from sayso.batch.batch import Batch
from sayso.batch.judged import JudgedBatch, JudgedBatches
from sayso.batch.pairs import WIDTH_STEP
from sayso.judge.statistics.agreement import Bin
from sayso.loss.reward import reward_loss
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.model.adapters import add_lora, merge
from sayso.model.score import add_score, normalize
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.rows import ReadsRows
from sayso.train.adapting import TUNING, Adapting
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.optimizers import make_optimizers
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived
from sayso.train.tune import Start, Tuning
from sayso.train.watch import Watch
from sayso.weights.folder import save_model
from sayso.weights.models import resolve_model

Picture = Callable[[str, Sequence[Bin], Path], object]
"""Draws the calibration of the named model to a file."""
_MAX_TOKENS = 120  # maximum length of a reply of the reference model


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
    held_out: HeldOut = 0.1
    """Share, number or file of prompts held out to select the weights and to evaluate the model; 0 = none."""
    members: Several = 1
    """Number of models in the ensemble, each trained with its own seed."""
    reference: str | None = None
    """Model whose replies define a mean score of 0. Default: the parent."""
    samples: Amount = 64
    """Reference replies scored for this normalization; 0 = do not normalize scores."""


class RewardTuning(Tuning):
    """Training of a reward model on the questions `train`; `picture` draws its calibration on those in `held`."""

    stage = "reward"
    row_tokens = 2 * WIDTH_STEP

    def __init__(
        self,
        start: Start,
        options: Reward,
        train: Sequence[Question],
        held: Sequence[Question],
        bad: BadRows,
        picture: Picture,
    ) -> None:
        super().__init__(start)
        self.options, self.rows, self.bad, self.picture = options, options.rows, bad, picture
        self.loss, self.ratings = loss_of(options.tie_width, options.centre, train)
        context, tokenizer = start.model.config.context, start.tokenizer
        training = tokenized(spoil(train, options.spoil, options.seed), tokenizer, context, **self.ratings)
        judged = tokenized(held, tokenizer, context, **self.ratings)
        if left := len(train) + len(held) - len(training) - len(judged):
            say(f"Left out {left:,} prompts that, with a reply, exceed the context of {context} tokens.")
        self.evaluation = reward_eval(training, judged, self.loss, self.rows)
        self.questions = [question for question, _ in training]
        self.batches = JudgedBatches([ids for _, ids in training], options.rows, context, options.seed)

    @override
    def derive(self, layout: Layout) -> Derived:
        """Return the number of steps and of prompts, and the mean and standard deviation of the ratings."""
        return {
            "steps": max(1, round(self.options.epochs * self.batches.steps_per_epoch)),
            "prompts": len(self.questions),
            "held_out": len(self.evaluation.held),
            "ratings": self.ratings,
            "bad_rows": self.bad.facts(),
        }

    @override
    def state(self) -> State:
        """Add adapters and a score head to the model; return a state that trains them."""
        start, generator = self.start, torch.Generator().manual_seed(self.options.seed)
        if start.lora:
            add_lora(start.model, start.lora, generator)
        add_score(start.model, generator).train()
        return State(start.model, make_optimizers(start.model, TUNING.times(self.options.rate)))

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return batches of prompts and the reward loss."""
        steps = derived["steps"]
        say(f"'{self.options.name}': {len(self.questions):,} prompts; {steps:,} steps of {self.rows}.")

        def loss(model: Transformer, batch: Batch) -> Term:
            assert isinstance(batch, JudgedBatch)
            return reward_loss(model, batch, self.loss)

        return Recipe(self.batches, loss, tuning_schedule(steps), self.evaluation.schedule(steps), watch=Watch())

    @override
    def finish(self, state: State, log: RunLog) -> dict[str, Any]:
        """Merge the adapters, evaluate on held-out prompts, and normalize the scores."""
        merge(self.start.model.eval())
        return self._evaluate(log) | _normalized(self.start, self.options, self.questions)

    @override
    def save(self, folder: Path, lineage: dict[str, Any]) -> None:
        """Write the model folder, without a separate adapter."""
        save_model(self.start.model, self.start.tokenizer, folder, lineage)

    def _evaluate(self, log: RunLog) -> dict[str, Any]:
        """Evaluate on held-out prompts, log and print the result, and return metrics for the model's sayso.json."""
        session, model = self.start.session, self.start.model
        if not self.evaluation.held:
            say("No prompts are held out, so there is no evaluation; provide more comparisons, or raise --held-out.")
            return {}
        found, adversarial = self.evaluation.final(model), self.evaluation.spoiled(model, self.start.tokenizer)
        warnings = report_reward(session.name, found, adversarial)
        log.write("reward", **as_json(found, adversarial), warnings=warnings)
        write_json(session.folder / "reward.json", as_json(found, adversarial), sealed=True)
        if found.bins:
            self.picture(session.name, found.bins, session.folder / "reliability.svg")
        return {"accuracy": found.accuracy.mean, "length_accuracy": found.length_accuracy.mean}


def _normalized(start: Start, options: Reward, questions: Sequence[Question]) -> dict[str, Any]:
    """Normalize a model's scores by those of sampled replies; return the mean and deviation of these."""
    if not options.samples:
        return {}
    model, tokenizer = start.model, start.tokenizer
    reference = resolve_model(start.session.life, options.reference or options.parent)
    replier = Replier(*start.session.open(reference, str(model.device)))
    if not replier.converses:
        say("The reference model has no chat template, so scores are not normalized.")
        return {}
    context = min(model.config.context, replier.context)
    scorer, longest = Scorer([model], tokenizer), min(_MAX_TOKENS, context // 2)
    room = context - longest - 1
    prompts = [one.prompt for one in questions if len(replier.prompt_ids(one.prompt)) <= room][: options.samples]
    replies = replier.replies(prompts, Sampling(temperature=1.0, max_tokens=longest, seed=options.seed))
    rows = [scorer.row(prompt, one.text) for prompt, one in zip(prompts, replies, strict=True)]
    rows = [
        row for row in rows if sum(map(len, row)) <= model.config.context
    ]  # encoding the text again may yield more tokens
    if len(rows) < 2:
        say("Fewer than two prompts leave room for a reply, so scores are not normalized.")
        return {}
    scores = scorer.combined(scorer.members(rows))
    mean, std = float(scores.mean()), float(scores.std())
    if not std > 0:
        raise UserError(
            "The reference model's replies all have the same score; raise --rate or --epochs, or pass --samples 0."
        )
    normalize(model, mean, std)
    say(f"Replies of '{options.reference or options.parent}' scored {mean:.2f} ± {std:.2f}; normalized to 0 ± 1.")
    return {"reference_mean": mean, "reference_std": std}
