"""Act: a base model becomes one that converses.

Conversations enter (prepared ones, and what people left on the page once it was gathered); `models/tuned` leaves. The
loss is on the assistant's words alone; whole conversations are packed into rows and see only themselves.
"""

import json
from collections.abc import Iterator
from dataclasses import KW_ONLY, asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest
from sayso.base.files import read_jsonl
from sayso.base.life import Life
from sayso.base.log import act_log, say
from sayso.batch.chat import ChatBatches, Conversation, fit
from sayso.run.adapting import Adapting, save_tuned, tuning_state
from sayso.run.model import resolve_model
from sayso.run.stage import Derived, make_stage
from sayso.run.training import batch_loss, layout_for, layout_of_plan, steps_in_minutes
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Finetune(Adapting):
    """Options of `sayso finetune`."""

    _: KW_ONLY
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
    rows: int = 4
    """Rows of a batch, each packed with whole conversations."""
    row_tokens: int = 1024
    """Tokens in a row; a conversation longer than a row, or than the model's context, is left out."""
    mix: tuple[str, ...] = ()
    """Share of a source's conversations to use, as SOURCE=SHARE, such as chitchat=0.1; all when not given."""
    rate: float = 0.5
    """A factor on the learning rates of pre-training."""
    feedback_weight: int = 4
    """How often a conversation that people corrected or liked is seen for each time of a prepared one."""


def finetune(options: Finetune) -> None:
    """Train a model on conversations, on the assistant's words alone."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    chats, feedback = life.data("chat") / "train.jsonl", life.data("feedback") / "chat.jsonl"
    inputs = {"chat": chats, "feedback": feedback, options.parent: weights_file(parent)}
    stage = make_stage(life, "finetune", options.name, options, inputs)
    device = pick_device(options.device)
    model, tokenizer = load_model(parent, device.kind, plain=True)
    lora = options.lora(model)
    context = min(options.row_tokens, model.config.context)
    kept = _conversations(tokenizer, _chosen(chats, shares(options.mix)), feedback, options.feedback_weight, context)
    batches = ChatBatches(kept, options.rows, options.row_tokens, options.seed)

    def derive() -> Derived:
        layout = layout_for(options, options.rows, device)
        steps = options.steps
        if steps is None and options.minutes is not None:
            given = (options.minutes, model.config, batches, layout, device)
            steps = steps_in_minutes(*given, recompute=options.recompute, lora=lora)
        return {
            "layout": asdict(layout),
            "steps": steps or max(1, round(options.epochs * batches.steps_per_epoch)),
            "conversations": len(kept),
            "lora": asdict(lora) if lora else None,
        }

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The model '{options.name}' is fine-tuned already with these options.")
        return
    steps = derived["steps"]
    say(
        f"{len(kept):,} conversations; {steps:,} steps of {options.rows} rows x {batches.context} tokens, "
        f"{100 * batches.utilisation:.1f} % full, {steps / batches.steps_per_epoch:.2f} passes."
    )
    state = tuning_state(model, lora, options.rate, options.seed)

    with act_log(life, "finetune", options.name, options) as log:
        schedule = Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0)
        stage.train(
            state,
            batches,
            batch_loss,
            schedule,
            layout_of_plan(derived["layout"], options, options.rows, device),
            options,
            log,
        )
        lineage = stage.lineage("tuned", parent, derived, state)
        save_tuned(model, lora, tokenizer, life.model(options.name), lineage, parent)
    say(f"Saved {life.model(options.name)}.")


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


def _chosen(chats: Path, share: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the prepared conversations, of a source with a share the same pseudo-random part each time."""
    if not chats.exists():
        return
    seen: set[str] = set()
    for row in read_jsonl(chats):
        seen.add(row["source"])
        mark = crc32(json.dumps(row["messages"]).encode()) / 2**32
        if mark < share.get(row["source"], 1.0):
            yield row
    for name in share:
        if name not in seen:
            raise UserError(f"--mix names '{name}'; '{chats}' has {', '.join(sorted(seen))}.{nearest(name, seen)}")


def _conversations(
    tokenizer: Tokenizer, prepared: Iterator[dict[str, Any]], feedback: Path, weight: int, longest: int
) -> list[Conversation]:
    liked = [row for row in read_jsonl(feedback) for _ in range(weight)] if feedback.exists() else []
    rendered: list[Conversation] = [render(tokenizer, row["messages"]) for row in chain(prepared, liked)]
    if not rendered:
        raise UserError("There are no conversations in this life; make them with: sayso prepare")
    kept, dropped = fit(rendered, longest)
    if dropped:
        say(f"Left out {len(dropped):,} of {len(rendered):,} conversations, longer than {longest} tokens.")
    return kept
