"""Act: fine-tune a model on conversations.

Input: conversations from files or from `sayso prepare`, and gathered feedback. Output: `models/tuned`, with the weights
that scored best on held-out conversations. Only the assistant's tokens are trained on. Conversations are packed into
rows, with attention limited to each conversation.
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
from sayso.base.lock import alone, model_place
from sayso.base.log import act_log, say
from sayso.base.ranges import Epochs, Minutes, Positive, Repeats, Rows, Scale, Tokens, Weight
from sayso.batch.chat import ChatBatches, MaskedIds
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

_JUDGEMENTS = 6  # evaluations during a run, after an initial one
_JUDGED = 0.15  # evaluation tokens as a share of training tokens, which takes a twentieth of the time
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
    held_out: Weight = 0.02
    """Share (at most 256) or number of distinct conversations to hold out for selecting the best weights; 0 = none."""
    mix: tuple[str, ...] = ()
    """Share of a source's conversations to use, as SOURCE=SHARE, such as chitchat=0.1. Default: all."""
    rate: Scale = 0.5
    """Multiplier on the pre-training learning rates."""
    feedback_weight: Repeats = 4
    """Number of times each conversation that users corrected or liked is repeated."""


@alone(model_place)
def finetune(options: Finetune) -> Trained:
    """Fine-tune a model on conversations; only the assistant's tokens are trained on."""
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
        say(f"The model '{options.name}' has already been fine-tuned with these options.")
        return trained(life, "finetune", options.name, finished_before=True)
    steps = derived["steps"]
    say(
        f"{derived['conversations']:,} conversations; {steps:,} steps of {options.rows} rows x {batches.context} "
        f"tokens, {100 * batches.utilisation:.1f} % full, {steps / batches.steps_per_epoch:.2f} passes; "
        + (
            f"evaluated on {derived['judged']:,} of {derived['held_out']:,} held-out conversations."
            if derived["judged"]
            else "no held-out conversations, so the last weights are kept."
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
    """Parse `mix` into the share of each source; raise `UserError` unless each part is SOURCE=SHARE, 0 to 1."""
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
    """Prompts sampled before and after training."""


def _stage(options: Finetune, life: Life, sources: Sequence[Source], parent: Path) -> Session:
    """Return the run, identified by the contents of its files, or by the store's metadata for remote ones."""
    inputs = {"feedback": life.data("feedback") / "chat.jsonl", options.parent: weights_file(parent)}
    files = [file for source in sources for file in source.files]
    inputs |= {file.where: Path(file.where) for file in files if "://" not in file.where}
    if not sources:
        inputs |= {"chat": life.data("chat") / "train.jsonl", "chat-val": life.data("chat") / "val.jsonl"}
    stage = open_session(life, "finetune", options.name, options, inputs)
    return replace(stage, inputs=stage.inputs | {file.where: file.mark for file in files if "://" in file.where})


def _data(options: Finetune, life: Life, sources: Sequence[Source], tokenizer: Tokenizer, tokens: int) -> _Data:
    """Read, hold out and lay out the conversations; report those longer than `tokens`."""
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
        raise UserError("There are no conversations to fine-tune on; pass a file with --data, or run: sayso prepare")
    split = options.long == "split"
    train, judged = (lay_out(tokenizer, some, tokens, bad, split=split) for some in ([*talks, *liked], held))
    report_rows(bad)
    if train.long:
        say(train.told(tokens))
    if train.unclear:
        say(f"{train.unclear:,} replies are not trained on: the chat template alters them, so they cannot be located.")
    if train.unclear and not train.conversations and not train.long:
        raise UserError(
            "The model's chat template alters every reply, so the tokens to train on cannot be located; mark replies "
            "in the template with {% generation %}."
        )
    if not train.conversations and not train.long:
        raise UserError("No conversations are left to train on: the model's chat template rejects all of them.")
    if not train.conversations:
        raise UserError(
            f"All {train.long:,} conversations, and their turns, are longer than {tokens:,} tokens; raise --row-tokens "
            "(up to the model's context)."
        )
    different = {talk.key: talk for talk in held or talks}.values()
    prompts = [prompt for talk in different if (prompt := talk.prompt())]
    room = tokens - min(SAY.max_tokens, tokens // 4)  # the rest is reserved for the reply
    fitting = (one for one in prompts if len(prompt_ids(tokenizer, one)) <= room)
    return _Data(train, judged, bad, list(islice(fitting, _SHOWN)))


def _judged(options: Finetune, held: Sequence[MaskedIds], trained: int) -> int:
    """Return how many held-out conversations to evaluate on in a run of `trained` tokens; all if a number was given."""
    if options.held_out >= 1:
        return len(held)
    room = _JUDGED * trained / (_JUDGEMENTS + 1)
    return sum(sofar <= room or not number for number, sofar in enumerate(accumulate(len(ids) for ids, _ in held)))


def _judging(held: Sequence[MaskedIds], row_tokens: int, steps: int, samples: Samples) -> Evaluation | None:
    """Return the evaluation on held-out conversations, which also samples replies; None without any."""
    every = max(1, steps // _JUDGEMENTS)

    def judge(state: State) -> dict[str, Any]:
        if state.step == every * (_JUDGEMENTS // 2):
            samples.take(state.model, state.step)
        found = reply_loss(state.model, held, row_tokens)
        return {"held_out_loss": round(found.mean, 5), "se": None if isnan(found.se) else round(found.se, 5)}

    return Evaluation(judge, every, "-held_out_loss") if held else None
