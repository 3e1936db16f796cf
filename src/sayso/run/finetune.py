"""Act: a base model becomes one that converses.

Conversations enter (files, or what was prepared, and what people left on the page once it was gathered); `models/tuned`
leaves, with the weights that did best on conversations held out. The loss is on the assistant's words alone; whole
conversations are packed into rows and see only themselves.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from itertools import accumulate, islice
from math import isnan
from pathlib import Path
from typing import Any, Literal

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import alone, model_of
from sayso.base.log import act_log, say
from sayso.base.ranges import Epochs, Minutes, Positive, Repeats, Rows, Scale, Tokens, Weight
from sayso.batch.chat import ChatBatches, Conversation
from sayso.batch.conversations import LaidOut, check_shares, hold_out, lay_out, prepared, read_conversations, share_of
from sayso.judge.replies import reply_loss
from sayso.judge.samples import Samples
from sayso.run.results import Trained, trained
from sayso.sample.sampling import Sampling
from sayso.text.document import Message, Source
from sayso.text.rows import ReadsRows, report_ignored, report_rows
from sayso.text.sources import file_source
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, save_tuned, tuning_state
from sayso.train.layout import batch_loss, layout_of_plan, layout_that_fits, steps_in_minutes
from sayso.train.loop import State
from sayso.train.schedule import Schedule
from sayso.train.session import Derived, Session, open_session
from sayso.train.step_log import Evaluation
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

JUDGEMENTS = 6  # while a run goes on, after one before it
JUDGED = 0.15  # of the tokens that are trained on are read to judge, which takes a twentieth of the time
SHOWN = 4  # prompts that are replied to before, halfway and after
SAY = Sampling(temperature=0, max_tokens=64)


@dataclass(frozen=True)
class Finetune(Adapting, ReadsRows):
    """Options of `sayso finetune`."""

    _: KW_ONLY
    parent: str = "base"
    """The model to start from."""
    name: str = "tuned"
    """What the new model is called."""
    minutes: Minutes | None = None
    """How long to train on this machine; its speed is measured first."""
    epochs: Epochs = 1.0
    """Passes over the conversations, when neither --minutes nor --steps is given."""
    steps: Positive | None = None
    """Updates in all; derived when not given."""
    rows: Rows = 4
    """Rows of a batch, each packed with whole conversations."""
    row_tokens: Tokens = 1024
    """Tokens in a row; what becomes of a conversation longer than a row, or than the model's context, --long says."""
    long: Literal["split", "drop"] = "split"
    """Cut a conversation that is too long into shorter ones, each with the system's turn, or leave it out."""
    data: tuple[str, ...] = ()
    """Conversations: files, folders, hf://OWNER/NAME or URLs; what was prepared when not given."""
    held_out: Weight = 0.02
    """Share of the different conversations, at most 256, or their number, to choose the best weights by; 0 = none."""
    mix: tuple[str, ...] = ()
    """Share of a source's conversations to use, as SOURCE=SHARE, such as chitchat=0.1; all when not given."""
    rate: Scale = 0.5
    """A factor on the learning rates of pre-training."""
    feedback_weight: Repeats = 4
    """How often a conversation that people corrected or liked is seen for each time of a prepared one."""


@alone(model_of)
def finetune(options: Finetune) -> Trained:
    """Train a model on conversations, on the assistant's words alone."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    sources = [file_source(name, 0) for name in dict.fromkeys(options.data)]
    report_ignored(sources)
    stage = _stage(options, life, sources, parent)
    device = pick_device(options.device)
    model, tokenizer = stage.open(parent, device.kind, plain=True, restart=options.restart)
    lora = options.lora(model)
    data = _data(options, life, sources, tokenizer, min(options.row_tokens, model.config.context))
    batches = ChatBatches(data.train.conversations, options.rows, options.row_tokens, options.seed)

    def derive() -> Derived:
        layout = layout_that_fits(options, model.config, options.rows, batches.context, device, lora=lora is not None)
        steps = options.steps
        if steps is None and options.minutes is not None:
            given = (options.minutes, model.config, batches, layout, device)
            steps = steps_in_minutes(*given, recompute=options.recompute, lora=lora)
        steps = steps or max(1, round(options.epochs * batches.steps_per_epoch))
        return {
            "layout": asdict(layout),
            "steps": steps,
            "conversations": len(data.train.conversations),
            **{name: getattr(data.train, name) for name in ("long", "windows", "replies_left_out", "unclear")},
            "held_out": len(data.held.conversations),
            "bad_rows": data.bad.facts(),
            "judged": _judged(options, data.held.conversations, steps * options.rows * batches.context),
            "lora": asdict(lora) if lora else None,
        }

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The model '{options.name}' is fine-tuned already with these options.")
        return trained(life, "finetune", options.name, finished_before=True)
    steps = derived["steps"]
    say(
        f"{derived['conversations']:,} conversations; {steps:,} steps of {options.rows} rows x {batches.context} "
        f"tokens, {100 * batches.utilisation:.1f} % full, {steps / batches.steps_per_epoch:.2f} passes; "
        + (
            f"judged on {derived['judged']:,} of {derived['held_out']:,} held out."
            if derived["judged"]
            else "nothing is held out to judge by, so the last weights are kept."
        )
    )
    state = tuning_state(model, lora, options.rate, options.seed)

    with act_log(life, "finetune", options.name, options) as log:
        samples = Samples(tokenizer, data.prompts, log, SAY)
        if 0 not in samples.taken:  # else this run goes on
            samples.take(state.model, 0)
        stage.train(
            state,
            batches,
            batch_loss,
            Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0),
            layout_of_plan(derived["layout"], options, options.rows, device),
            options,
            log,
            judging=_judging(data.held.conversations[: derived["judged"]], batches.context, steps, samples),
        )
        samples.take(model, steps)
        lineage = stage.lineage("tuned", parent, derived, state)
        save_tuned(model, lora, tokenizer, life.model(options.name), lineage, parent)
    samples.show()
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "finetune", options.name)


def shares(mix: tuple[str, ...]) -> dict[str, float]:
    """Return the share of each source named in `mix`; a part that is not SOURCE=SHARE, 0 to 1, is a `UserError`."""
    found = {}
    for part in mix:
        name, _, share = part.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] <= 1:
            raise UserError(f"--mix takes SOURCE=SHARE with a share from 0 to 1, such as chitchat=0.1; got '{part}'.")
    return found


@dataclass(frozen=True)
class _Data:
    train: LaidOut
    held: LaidOut
    bad: BadRows
    prompts: list[Sequence[Message]]
    """Some that are replied to before and after."""


def _stage(options: Finetune, life: Life, sources: Sequence[Source], parent: Path) -> Session:
    """Return the run, told apart by what its files hold, or for remote ones by what their store says of them."""
    inputs = {"feedback": life.data("feedback") / "chat.jsonl", options.parent: weights_file(parent)}
    files = [file for source in sources for file in source.files]
    inputs |= {file.where: Path(file.where) for file in files if "://" not in file.where}
    if not sources:
        inputs |= {"chat": life.data("chat") / "train.jsonl", "chat-val": life.data("chat") / "val.jsonl"}
    stage = open_session(life, "finetune", options.name, options, inputs)
    return replace(stage, inputs=stage.inputs | {file.where: file.mark for file in files if "://" in file.where})


def _data(options: Finetune, life: Life, sources: Sequence[Source], tokenizer: Tokenizer, tokens: int) -> _Data:
    """Read, hold out and lay out the conversations; say what became of those that are longer than `tokens`."""
    chat, feedback, mix = life.data("chat"), life.data("feedback") / "chat.jsonl", shares(options.mix)
    bad = BadRows(options.bad_rows)
    read = list(read_conversations(sources, bad) if sources else prepared(chat / "train.jsonl", bad))
    apart = [] if sources else share_of(prepared(chat / "val.jsonl", bad), mix)
    liked = list(prepared(feedback, bad))
    bad.check()
    check_shares(mix, read)
    talks, held = hold_out(share_of(read, mix), apart, options.held_out)
    kept = {talk.key for talk in held}
    liked = [talk for talk in liked if talk.key not in kept for _ in range(options.feedback_weight)]
    if not talks and not liked:
        raise UserError("There are no conversations to tune on; name a file with --data, or make some: sayso prepare")
    split = options.long == "split"
    train, judged = (lay_out(tokenizer, some, tokens, bad, split=split) for some in ([*talks, *liked], held))
    report_rows(bad)
    if train.long:
        say(train.told(tokens))
    if train.unclear:
        say(f"{train.unclear:,} replies are not trained: the chat template changes them, so they cannot be told apart.")
    if train.unclear and not train.conversations and not train.long:
        raise UserError(
            "The chat template of this model changes every reply, so that nobody can tell which tokens to train; mark "
            "the replies in it with {% generation %}."
        )
    if not train.conversations and not train.long:
        raise UserError("No conversation is left to train on: the chat template of this model refuses each of them.")
    if not train.conversations:
        raise UserError(
            f"All {train.long:,} conversations are longer than {tokens:,} tokens, as are their turns; raise "
            "--row-tokens, as far as the model's context goes."
        )
    different = {talk.key: talk for talk in held or talks}.values()
    prompts = [prompt for talk in different if (prompt := talk.prompt())]
    room = tokens - min(SAY.max_tokens, tokens // 4)  # what is left is for the reply
    fitting = (one for one in prompts if len(prompt_ids(tokenizer, one)) <= room)
    return _Data(train, judged, bad, list(islice(fitting, SHOWN)))


def _judged(options: Finetune, held: Sequence[Conversation], trained: int) -> int:
    """Return on how many held-out conversations a run of so many tokens is judged; all where a number was asked."""
    if options.held_out >= 1:
        return len(held)
    room = JUDGED * trained / (JUDGEMENTS + 1)
    return sum(sofar <= room or not number for number, sofar in enumerate(accumulate(len(ids) for ids, _ in held)))


def _judging(held: Sequence[Conversation], row_tokens: int, steps: int, samples: Samples) -> Evaluation | None:
    """Return what judges a state on held-out conversations and now and then lets it reply; None without any."""
    every = max(1, steps // JUDGEMENTS)

    def judge(state: State) -> dict[str, Any]:
        if state.step == every * (JUDGEMENTS // 2):
            samples.take(state.model, state.step)
        found = reply_loss(state.model, held, row_tokens)
        return {"held_out_loss": round(found.mean, 5), "se": None if isnan(found.se) else round(found.se, 5)}

    return Evaluation(judge, every, "-held_out_loss") if held else None
