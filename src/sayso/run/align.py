"""Act: a tuned model becomes one that prefers better replies.

Pairs enter (the program's, over replies of the model itself, and people's from the page); `models/aligned` leaves.
Direct preference optimisation against the tuned model, with a share of the plain loss on the chosen replies, which
keeps their likelihood from falling together with the rejected ones' (Pang et al. 2024).
"""

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.log import act_log, say
from sayso.batch.batch import Batch
from sayso.batch.pairs import PairBatches
from sayso.loss.next_token import IGNORE, token_logprobs
from sayso.loss.preference import dpo_loss
from sayso.model import Transformer
from sayso.model.adapters import without_adapters
from sayso.reply.conversation import Replier
from sayso.run.adapting import Adapting, save_tuned, tuning_state
from sayso.run.model import resolve_model
from sayso.run.pairs import world_pairs
from sayso.run.stage import Derived, make_stage
from sayso.run.training import layout_for, layout_of_plan
from sayso.token.chat import render
from sayso.token.tokenizer import Tokenizer
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Align(Adapting):
    """Options of `sayso align`."""

    _: KW_ONLY
    parent: str = "tuned"
    """The model to start from, and the reference."""
    name: str = "aligned"
    """What the new model is called."""
    tasks: int = 1600
    """Small-world tasks for which the model's own replies are scored and paired; 0 = people's pairs alone."""
    replies: int = 4
    """Replies sampled for each task."""
    epochs: float = 1.0
    """Passes over the pairs."""
    rows: int = 16
    """Pairs of a batch."""
    beta: float = 0.1
    """How far the policy may go from the reference: small is far."""
    nll: float = 1.0
    """Weight of the plain loss on the chosen replies; 0 = off."""
    rate: float = 0.05
    """A factor on the learning rates of pre-training."""
    feedback_weight: int = 4
    """How often a pair of people's is seen for each time of a program's."""


def align(options: Align) -> None:
    """Train a model on comparisons of replies."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    feedback = life.data("feedback") / "pairs.jsonl"
    inputs = {"feedback": feedback, options.parent: weights_file(parent)}
    stage = make_stage(life, "align", options.name, options, inputs)
    device = pick_device(options.device)
    model, tokenizer = load_model(parent, device.kind, plain=True)
    lora = options.lora(model)

    def derive() -> Derived:
        layout = layout_for(options, options.rows, device)
        pairs = _make_pairs(options, stage.folder, model, tokenizer, feedback)
        return {"pairs": pairs, "layout": asdict(layout), "lora": asdict(lora) if lora else None}

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The model '{options.name}' is aligned already with these options and ratings.")
        return
    pairs = _rendered(tokenizer, stage.folder / "pairs.jsonl", model.config.context)
    batches = PairBatches(pairs, options.rows, model.config.context, options.seed)
    steps = max(1, round(options.epochs * batches.steps_per_epoch))
    say(f"{len(pairs):,} pairs; {steps:,} steps of {options.rows}.")
    reference = None if lora else deepcopy(model).requires_grad_(False)
    state = tuning_state(model, lora, options.rate, options.seed)

    def loss(model: Transformer, batch: Batch) -> tuple[Tensor, int, int]:
        return _pair_loss(model, reference, batch, options, device.kind)

    with act_log(life, "align", options.name, options) as log:
        schedule = Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0)
        layout = layout_of_plan(derived["layout"], options, options.rows, device)
        stage.train(state, batches, loss, schedule, layout, options, log)
        lineage = stage.lineage("aligned", parent, derived, state)
        save_tuned(model, lora, tokenizer, life.model(options.name), lineage, parent)
    say(f"Saved {life.model(options.name)}.")


def _pair_loss(
    model: Transformer, reference: Transformer | None, batch: Batch, options: Align, device: str
) -> tuple[Tensor, int, int]:
    """Return the summed loss of a batch of pairs, how many there are, and the tokens seen.

    Without a `reference` of its own, that is the model without its adapters.
    """
    ids, targets, documents = (part.to(device) for part in (batch.ids, batch.targets, batch.documents))
    with torch.no_grad(), nullcontext() if reference else without_adapters(model):
        before = token_logprobs(reference or model, ids, targets, documents).sum(1)
    logprobs = token_logprobs(model, ids, targets, documents).sum(1)
    losses, _ = dpo_loss(logprobs, before, options.beta)
    if options.nll:
        lengths = (targets != IGNORE).sum(1).chunk(2)[0]
        losses = losses - options.nll * logprobs.chunk(2)[0] / lengths
    return losses.sum(), len(losses), ids.numel()


def _make_pairs(options: Align, folder: Path, model: Transformer, tokenizer: Tokenizer, feedback: Path) -> int:
    """Write the run's pairs: people's, and the program's over the model's own replies; return how many."""
    people = [row for row in read_jsonl(feedback) for _ in range(options.feedback_weight)] if feedback.exists() else []
    rows: list[dict[str, Any]] = list(people)
    if options.tasks:
        rows += world_pairs(Replier(model, tokenizer), options.tasks, options.replies, options.seed)
    if not rows and options.tasks:
        raise UserError(
            f"All replies to the {options.tasks:,} tasks were right, so there is nothing to prefer; raise --tasks."
        )
    if not rows:
        raise UserError("Aligning needs pairs: gather people's ratings first (sayso gather), or set --tasks above 0.")
    if people:
        say(f"{len(people) // options.feedback_weight:,} pairs are people's.")
    return write_jsonl(folder / "pairs.jsonl", rows)


def _rendered(tokenizer: Tokenizer, path: Path, context: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Return prompt, chosen and rejected ids of each pair that fits the context."""
    end = tokenizer.specials["<|end|>"]
    pairs, long = [], 0
    for row in read_jsonl(path):
        prompt = render(tokenizer, row["prompt"], reply=True)[0]
        chosen, rejected = ([*tokenizer.encode(row[key]), end] for key in ("chosen", "rejected"))
        if len(prompt) + max(len(chosen), len(rejected)) > context:
            long += 1
            continue
        pairs.append((prompt, chosen, rejected))
    if long:
        say(f"Left out {long:,} pairs that are longer than the context of {context}.")
    return pairs
