"""Fine-tuning on conversations, as a method of tuning.

Only the assistant's tokens are trained on. Conversations are packed into rows, with attention limited to each
conversation. The weights with the lowest loss on held-out conversations are kept.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Literal

from typing_extensions import override

from sayso.align.abstention import Abstention, abstention, mixed
from sayso.align.instruction_eval import Judged
from sayso.align.replay import Replay
from sayso.base.errors import UserError
from sayso.base.hold_out import HeldOut, HoldOut, held_out_file
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.log import RunLog, say
from sayso.base.ranges import Epochs, Minutes, Positive, Questions, Repeats, Rows, Scale, SecondShare, Share, Tokens
from sayso.batch.chat import ChatBatches
from sayso.batch.conversations import (
    MOST_HELD_OUT,
    LaidOut,
    TrainingConversation,
    check_shares,
    hold_out,
    lay_out,
    prepared,
    read_conversations,
    share_of,
    shares,
)
from sayso.batch.mixed import second_size, trained_tokens
from sayso.judge.samples import Samples
from sayso.loss.next_token import batch_loss
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages, Source
from sayso.text.rows import ReadsRows, report_rows
from sayso.text.sources import file_source
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, tuning_state
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.measure import steps_in_minutes
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived
from sayso.train.tune import Start, Tuning

_FEEDBACK_HELD = 0.1  # share of the feedback that is held out to select the best weights, if a share of the rest is
_SHOWN = 4  # prompts sampled before, halfway through, and after training
SAY = Sampling(temperature=0, max_tokens=64)


@dataclass(frozen=True)
class Finetune(Adapting, ReadsRows):
    """Options of `sayso finetune`."""

    _: KW_ONLY
    parent: str = "base"
    """Model to start from."""
    name: str = "tuned"
    """Name of the new model."""
    minutes: Minutes | None = None
    """Time budget for training in minutes; the machine's speed is measured first."""
    epochs: Epochs = 1.0
    """Passes over the conversations. Ignored with --minutes or --steps."""
    steps: Positive | None = None
    """Number of training steps. Default: derived from --epochs or --minutes."""
    rows: Rows = 4
    """Rows per batch, each packed with whole conversations."""
    row_tokens: Tokens = 1024
    """Tokens per row; --long controls what happens to longer conversations."""
    long: Literal["split", "drop"] = "split"
    """Conversations longer than a row or the model's context: split (keeping the system prompt) or drop."""
    data: tuple[str, ...] = ()
    """Conversations: files, folders, hf://OWNER/NAME or URLs. Default: the prepared conversations."""
    held_out: HeldOut = 0.02
    """Share (at most 256), number or file of conversations held out to select the best weights; 0 = none."""
    mix: tuple[str, ...] = ()
    """Share of a source's conversations to use, as SOURCE=SHARE, such as chitchat=0.1. Default: all."""
    replay: SecondShare = 0.0
    """Share of prepared documents in every batch, so that the model forgets less of its pre-training; 0 = none."""
    rate: Scale = 0.5
    """Multiplier on the pre-training learning rates."""
    feedback_weight: Repeats = 4
    """Number of times each conversation that users corrected or liked is repeated."""
    feedback_share: Share = 0.0
    """Least share of these among the conversations; others are left out at random until then. 0 = use all."""
    abstain: Questions = 0
    """Questions about facts to ask the parent, several times each, to teach it to say if it does not know; 0 = none."""
    abstain_data: str | None = None
    """Source of these questions, such as wiki. Default: the prepared documents with a title."""


class InstructionTuning(Tuning):
    """Fine-tuning of a model on conversations."""

    stage = "tuned"

    def __init__(self, start: Start, options: Finetune, sources: Sequence[Source]) -> None:
        super().__init__(start)
        self.options, self.rows = options, options.rows
        if options.abstain_data is not None and not options.abstain:
            raise UserError("--abstain-data requires --abstain, the number of questions, such as --abstain 300.")
        context = min(options.row_tokens, start.model.config.context)
        self.abstention = abstention(start, options.abstain, options.abstain_data) if options.abstain else None
        self.data = _data(options, start.session.life, sources, start.tokenizer, context, self.abstention)
        self.batches = ChatBatches(self.data.train.conversations, options.rows, options.row_tokens, options.seed)
        self.row_tokens = self.batches.context + second_size(self.batches.context, options.replay)
        self.replay = Replay.open(start, options.replay, options.seed)
        self.mixed, self.loss = self.replay.batches(self.batches, trained_tokens), self.replay.loss(batch_loss)

    @override
    def derive(self, layout: Layout) -> Derived:
        """Return the number of steps and conversation counts; with a time budget, measure the speed first."""
        options, data, start = self.options, self.data, self.start
        steps = options.steps
        if steps is None and options.minutes is not None:
            run = (start.model.config, self.mixed, layout, start.device)
            steps = steps_in_minutes(
                options.minutes, *run, recompute=options.recompute, lora=start.lora, loss=self.loss
            )
        steps = steps or max(1, round(options.epochs * self.batches.steps_per_epoch))
        return {
            "steps": steps,
            "conversations": len(data.train.conversations),
            **{name: getattr(data.train, name) for name in ("long", "windows", "replies_left_out", "unclear")},
            "held_out": data.held.count,
            "bad_rows": data.bad.facts(),
            **({"abstain": dict(self.abstention.counts)} if self.abstention else {}),
            "judged": self._judged(steps).count,
        }

    @override
    def state(self) -> State:
        """Return a state that trains the model or its adapters."""
        return tuning_state(self.start.model, self.start.lora, self.options.rate, self.options.seed)

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return batches of conversations and the next-token loss; sample replies of the parent first."""
        steps, self.samples = derived["steps"], Samples(self.start.tokenizer, self.data.prompts, log, SAY)
        self._report(derived)
        if 0 not in self.samples.taken:  # otherwise the run is resumed
            self.samples.take(state.model, 0)
        evaluation = self._judged(steps).evaluation(self.batches.context, steps, self.samples, self.replay)
        return Recipe(self.mixed, self.loss, tuning_schedule(steps), evaluation)

    @override
    def finish(self, state: State, log: RunLog) -> None:
        """Show the first replies next to the last."""
        self.samples.take(state.model, state.step)
        self.samples.show()

    def _judged(self, steps: int) -> Judged:
        held_out = self.options.held_out
        limited = not isinstance(held_out, Path) and held_out < 1
        return self.data.held.within(steps * self.rows * self.batches.context, limited=limited)

    def _report(self, derived: Derived) -> None:
        batches, steps = self.batches, derived["steps"]
        held = "no held-out conversations, so the last weights are kept"
        if derived["judged"]:
            held = f"evaluated on {derived['judged']:,} of {derived['held_out']:,} held-out conversations"
            if feedback := len(self._judged(steps).feedback):
                held += f", {feedback:,} of feedback"
        say(
            f"{derived['conversations']:,} conversations; {steps:,} steps of {self.rows} rows x {batches.context} "
            f"tokens, {100 * batches.utilization:.1f} % full, {steps / batches.steps_per_epoch:.2f} passes; {held}."
        )


@dataclass(frozen=True)
class _Data:
    train: LaidOut
    held: Judged
    bad: BadRows
    prompts: list[Messages]
    """Prompts to sample before, during and after training."""


def _data(
    options: Finetune,
    life: Life,
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    tokens: int,
    more: Abstention | None,
) -> _Data:
    """Read, hold out and lay out the conversations, and those on abstention; report those longer than `tokens`."""
    bad = BadRows(options.bad_rows)
    read = _read(options, life, sources, bad)
    others, held = ([*read.others, *more.train], mixed(read.held, more.held)) if more else (read.others, read.held)
    sides, split = ([*others, *read.liked], held, read.liked_held), options.long == "split"
    train, judged, liked = (lay_out(tokenizer, some, tokens, bad, split=split) for some in sides)
    report_rows(bad)
    _report_laid_out(train, tokens)
    share = len(read.liked) / len(sides[0])
    prompts = _sample_prompts(tokenizer, [*held, *read.liked_held] or sides[0], tokens)
    return _Data(train, Judged(judged.conversations, liked.conversations, share), bad, prompts)


@dataclass(frozen=True)
class _Read:
    others: list[TrainingConversation]
    held: list[TrainingConversation]
    liked: list[TrainingConversation]
    """Feedback, each conversation repeated."""
    liked_held: list[TrainingConversation]


def _read(options: Finetune, life: Life, sources: Sequence[Source], bad: BadRows) -> _Read:
    """Return the conversations to train on and the held-out ones, of feedback and others."""
    chat, feedback, mix = life.data("chat"), life.data("feedback") / "chat.jsonl", shares(options.mix)
    read = list(read_conversations(sources, bad) if sources else prepared(chat / "train.jsonl", bad))
    reserved = [] if sources else share_of(prepared(chat / "val.jsonl", bad), mix)
    liked, liked_held = list(prepared(feedback, bad)), list[TrainingConversation]()
    file = held_out_file(options.held_out)
    held = list(read_conversations([file_source(str(file), 0)], bad)) if file else []
    bad.check()
    check_shares(mix, read)
    talks = share_of(read, mix)
    if not talks and not liked:
        raise UserError("There are no conversations to fine-tune on; pass a file with --data, or run: sayso prepare")
    if not isinstance(options.held_out, Path):
        talks, held = hold_out(talks, reserved, HoldOut(options.held_out, MOST_HELD_OUT))
        if 0 < options.held_out < 1:
            different = len({talk.key for talk in liked})
            some = max(1, round(_FEEDBACK_HELD * different)) if different > 1 else 0
            liked, liked_held = hold_out(liked, [], HoldOut(min(some, MOST_HELD_OUT)))
    keys = {talk.key for talk in (*held, *liked_held)}
    talks, liked = ([talk for talk in some if talk.key not in keys] for some in (talks, liked))
    if not talks and not liked:
        raise UserError("All conversations are held out, so none are left to train on; hold out fewer (--held-out).")
    liked = [talk for talk in liked for _ in range(options.feedback_weight)]
    return _Read(_beside(talks, len(liked), options), held, liked, liked_held)


def _beside(talks: list[TrainingConversation], liked: int, options: Finetune) -> list[TrainingConversation]:
    """Return the conversations to train on beside `liked` ones from feedback: all, or a random sample, in order."""
    if not options.feedback_share or not liked:
        return talks
    most = round(liked * (1 / options.feedback_share - 1))
    if len(talks) <= most:
        return talks
    say(f"{liked:,} conversations of feedback beside {most:,} of {len(talks):,} others (--feedback-share).")
    chosen = sorted(Random(options.seed).sample(range(len(talks)), most))
    return [talks[place] for place in chosen]


def _report_laid_out(train: LaidOut, tokens: int) -> None:
    """Report the conversations that are left out; raise `UserError` if none is left."""
    if train.long:
        say(train.summary(tokens))
    if train.unclear:
        say(f"{train.unclear:,} replies are not trained on: the chat template alters them, so they cannot be located.")
    if train.conversations:
        return
    if train.long:
        raise UserError(
            f"All {train.long:,} conversations, and their turns, are longer than {tokens:,} tokens; raise --row-tokens "
            "(up to the model's context)."
        )
    if train.unclear:
        raise UserError(
            "The model's chat template alters every reply, so the tokens to train on cannot be located; mark replies "
            "in the template with {% generation %}."
        )
    raise UserError("No conversations are left to train on: the model's chat template rejects all of them.")


def _sample_prompts(tokenizer: Tokenizer, talks: Sequence[TrainingConversation], tokens: int) -> list[Messages]:
    """Return the first few different prompts that leave room for a reply in `tokens`."""
    different = {talk.key: talk for talk in talks}.values()
    prompts = (prompt for talk in different if (prompt := talk.prompt()))
    room = tokens - min(SAY.max_tokens, tokens // 4)  # the rest is reserved for the reply
    return list(islice((prompt for prompt in prompts if len(prompt_ids(tokenizer, prompt)) <= room), _SHOWN))
