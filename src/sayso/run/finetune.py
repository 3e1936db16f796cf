"""Act: a base model becomes one that converses.

Conversations enter (prepared ones, and what people left on the page once it was gathered); `models/tuned` leaves. The
loss is on the assistant's words alone; whole conversations are packed into rows and see only themselves.
"""

from dataclasses import KW_ONLY, dataclass
from itertools import chain
from pathlib import Path

import torch

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_jsonl
from sayso.base.life import Life
from sayso.base.log import act_log, say
from sayso.batch.batch import Batch
from sayso.batch.chat import ChatBatches, Conversation, fit
from sayso.loss.next_token import next_token_loss
from sayso.model import Transformer
from sayso.run.model import resolve_model
from sayso.run.stage import Derived, make_stage, steps_in_minutes
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.train.loop import State
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model

WIDTH_STEP = 64


@dataclass(frozen=True)
class Finetune:
    """Options of `sayso finetune`."""

    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    parent: str = "base"
    """The model to start from."""
    name: str = "tuned"
    """What the new model is called."""
    minutes: float | None = None
    """How long to train on this machine; its speed is measured first."""
    epochs: float = 1.0
    """Passes over the conversations, when neither --minutes nor --steps is given."""
    steps: int | None = None
    """Updates in all; derived when not given."""
    rows: int = 8
    """Rows of a batch, each packed with whole conversations."""
    rate: float = 0.5
    """A factor on the learning rates of pre-training."""
    feedback_weight: int = 4
    """How often a conversation that people corrected or liked is seen for each time of a prepared one."""
    save_seconds: float = 60.0
    """Seconds between checkpoints."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""
    seed: int = 0
    """Fixes the order of the conversations."""
    restart: bool = False
    """Begin anew where an unfinished run with other options stands."""


def finetune(options: Finetune) -> None:
    """Train a model on conversations, on the assistant's words alone."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    chats, feedback = life.data("chat") / "train.jsonl", life.data("feedback") / "chat.jsonl"
    inputs = {"chat": chats, "feedback": feedback, options.parent: parent / "model.safetensors"}
    stage = make_stage(life, "finetune", options.name, options, inputs)
    device = pick_device(options.device)
    model, tokenizer = load_model(parent, device.kind)
    kept = _conversations(tokenizer, chats, feedback, options.feedback_weight, model.config.context)
    width = _row_width(kept, model.config.context)
    batches = ChatBatches(kept, options.rows, width, options.seed)

    def derive() -> Derived:
        steps = options.steps
        if steps is None and options.minutes is not None:
            steps = steps_in_minutes(options.minutes, model.config, options.rows, width, device, batches.trained_share)
        return {"steps": steps or max(1, round(options.epochs * batches.steps_per_epoch)), "conversations": len(kept)}

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The model '{options.name}' is fine-tuned already with these options.")
        return
    steps = derived["steps"]
    say(
        f"{len(kept):,} conversations; {steps:,} steps of {options.rows} rows x {width} tokens, "
        f"{steps / batches.steps_per_epoch:.2f} passes."
    )
    model.train()
    state = State(model, make_optimizers(model, Rates().times(options.rate)))

    def loss(model: Transformer, batch: Batch) -> tuple[torch.Tensor, int, int]:
        ids, targets, documents = (part.to(device.kind) for part in (batch.ids, batch.targets, batch.documents))
        return *next_token_loss(model, ids, targets, documents), ids.numel()

    with act_log(life, "finetune", options.name, options) as log:
        schedule = Schedule(steps, warmup=min(10, steps // 10 + 1))
        stage.train(state, lambda step: [batches.batch(step)], loss, schedule, log, save_seconds=options.save_seconds)
        save_model(model, tokenizer, life.model(options.name), stage.lineage("tuned", parent, derived, state))
    say(f"Saved {life.model(options.name)}.")


def _conversations(tokenizer: Tokenizer, chats: Path, feedback: Path, weight: int, context: int) -> list[Conversation]:
    if not chats.exists() and not feedback.exists():
        raise UserError(f"There are no conversations at '{chats}'; make them with: sayso prepare")
    prepared = read_jsonl(chats) if chats.exists() else iter(())
    liked = [row for row in read_jsonl(feedback) for _ in range(weight)] if feedback.exists() else []
    rendered: list[Conversation] = [render(tokenizer, row["messages"]) for row in chain(prepared, liked)]
    kept, dropped = fit(rendered, context)
    if dropped:
        say(f"Left out {len(dropped):,} of {len(rendered):,} conversations, longer than the context of {context}.")
    return kept


def _row_width(conversations: list[Conversation], context: int) -> int:
    """Return the tokens of a row: the longest conversation's, in steps of 64; wider rows would only be masked away."""
    longest = max((len(ids) for ids, _ in conversations), default=1)
    return min(context, -(-longest // WIDTH_STEP) * WIDTH_STEP)
