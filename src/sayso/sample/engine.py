"""The engine: prompts of unequal length enter, completions leave, decoded side by side.

Continuous batching with a plain state (after nano-vllm): up to `rows` rows decode together, a finished row leaves at
once, and waiting prompts enter as rows fall free. A row's text is a function of its prompt, the seed and its index:
what else is in the batch does not change it. B rows in the batch, T longest prompt, V vocabulary.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model.transformer import Transformer
from sayso.sample.cache import Cache
from sayso.sample.pick import Sampling, pick

ROWS = 64  # rows decoded side by side
PREFILL_TOKENS = 2048  # prompt tokens in one forward pass; more only leaves the processor's cache
REFILL = 4  # waiting prompts enter when a quarter of the rows is free: prefilling one row at a time wastes the machine

Watch = Callable[[int, int], bool]
"""Called with (row, id) for every new token that is not a stop id; True ends the row there."""


@dataclass(frozen=True)
class Completion:
    """What the model said after one prompt."""

    ids: list[int]
    """The new tokens, without the stop id."""
    finish: str
    """"stop" (a stop id, or the watcher ended it) or "length" (max_tokens, or the context was full)."""
    logprobs: list[float]
    """Of each id, its natural-log probability under the model itself, before penalty, temperature and filters."""


@dataclass
class Row:
    """One prompt on its way."""

    index: int
    prompt: Sequence[int]
    room: int
    generator: random.Random
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""


@dataclass
class Batch:
    """The rows that decode together; `rows[i]` is row i of the cache and of `seen`."""

    model: Transformer
    sampling: Sampling
    stop_ids: frozenset[int]
    watch: Watch | None
    cache: Cache
    seen: Tensor | None
    rows: list[Row] = field(default_factory=list)


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: frozenset[int] = frozenset(),
    *,
    rows: int = ROWS,
    watch: Watch | None = None,
) -> list[Completion]:
    """Return one completion a prompt, in the prompts' order; at most `rows` are in memory at once.

    Raises `UserError` for a prompt that is empty or leaves no room in the model's context, before anything is decoded.
    """
    sampling = seeded(sampling)
    waiting = [start_row(model, prompt, sampling, index) for index, prompt in enumerate(prompts)]
    done = list(waiting)
    waiting.sort(key=lambda row: len(row.prompt))  # taken from the end: longest first, neighbours of like length
    batch = new_batch(model, sampling, stop_ids, min(rows, len(prompts)), watch)
    while waiting or batch.rows:
        free = min(rows, len(prompts)) - len(batch.rows)
        if waiting and (not batch.rows or free * REFILL >= rows):
            for group in prefill_groups([waiting.pop() for _ in range(min(free, len(waiting)))]):
                admit(batch, group)
        if batch.rows:
            step(batch)
    return [Completion(row.ids, row.finish, row.logprobs) for row in done]


def stream(
    model: Transformer,
    prompt: Sequence[int],
    sampling: Sampling,
    stop_ids: frozenset[int] = frozenset(),
    *,
    row: int = 0,
) -> Iterator[int]:
    """Yield the ids that `generate` gives for a prompt at index `row`, each as soon as it is there.

    Raises `UserError` at the call, not at the first token, for a prompt that is empty or leaves no room.
    """
    sampling = seeded(sampling)
    only = start_row(model, prompt, sampling, row)
    return _stream(new_batch(model, sampling, stop_ids, 1, None), only)


def _stream(batch: Batch, row: Row) -> Iterator[int]:
    admit(batch, [row])
    given = 0
    while True:
        yield from row.ids[given:]
        given = len(row.ids)
        if row.finish:
            return
        step(batch)


def seeded(sampling: Sampling) -> Sampling:
    """Return the sampling with a seed: its own, or a fresh one."""
    return sampling if sampling.seed is not None else replace(sampling, seed=random.SystemRandom().getrandbits(63))


def start_row(model: Transformer, prompt: Sequence[int], sampling: Sampling, index: int) -> Row:
    """Return a row for a prompt; errors as in `room`."""
    return Row(index, prompt, room(model, prompt, sampling), sampling.generator(index))


def room(model: Transformer, prompt: Sequence[int], sampling: Sampling) -> int:
    """Return how many tokens may follow a prompt: `max_tokens`, or fewer when the context is full before.

    Raises `UserError` for a prompt that is empty or leaves no room in the context.
    """
    context = model.config.context
    if not prompt:
        raise UserError("A prompt needs at least one token; got an empty one: give it some text.")
    if len(prompt) >= context:
        raise UserError(
            f"A prompt must leave room for a reply in the model's context of {context} tokens; "
            f"this one has {len(prompt)}: shorten it or leave out earlier turns."
        )
    return min(sampling.max_tokens, context - len(prompt))


def new_batch(
    model: Transformer, sampling: Sampling, stop_ids: frozenset[int], rows: int, watch: Watch | None
) -> Batch:
    """Return an empty batch with room for `rows` rows."""
    weight = model.embed.weight
    penalised = sampling.repetition_penalty != 1
    seen = torch.zeros(rows, model.config.vocab_size, dtype=torch.bool, device=weight.device) if penalised else None
    return Batch(model, sampling, stop_ids, watch, Cache(model.config, rows, weight.device, weight.dtype), seen)


def prefill_groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Split rows, longest first, into groups whose padded prompts have at most `PREFILL_TOKENS` tokens."""
    start = 0
    while start < len(rows):
        size = max(1, PREFILL_TOKENS // len(rows[start].prompt))
        yield list(rows[start : start + size])
        start += size


@torch.inference_mode()
def admit(batch: Batch, rows: Sequence[Row]) -> None:
    """Prefill the rows' prompts and give each its first token; the head is computed at their last positions only."""
    device, first = batch.model.embed.weight.device, len(batch.rows)
    counts = [len(row.prompt) for row in rows]
    ids = torch.zeros(len(rows), max(counts), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : counts[place]] = torch.tensor(row.prompt)
    positions, mask = batch.cache.extend(first, counts)
    hidden = batch.model.hidden(ids.to(device), positions=positions, mask=mask, cache=batch.cache)
    last = hidden[torch.arange(len(rows), device=device), torch.tensor(counts, device=device) - 1]
    batch.rows += rows
    if batch.seen is not None:
        batch.seen[first : len(batch.rows)] = False
        for place, row in enumerate(rows, first):
            batch.seen[place, torch.tensor(row.prompt, device=device)] = True
    take(batch, first, batch.model.head(last))


@torch.inference_mode()
def step(batch: Batch) -> None:
    """Give every row of the batch its next token; rows that finish leave."""
    ids = torch.tensor([[row.ids[-1]] for row in batch.rows]).to(batch.model.embed.weight.device)
    positions, mask = batch.cache.extend(0, [1] * len(batch.rows))
    logits = batch.model(ids, positions=positions, mask=mask, cache=batch.cache)
    take(batch, 0, logits[:, 0])


def take(batch: Batch, first: int, logits: Tensor) -> None:
    """Pick a token for each row from `first` on, given logits [B, V]; the finished rows leave the batch."""
    rows = batch.rows[first:]
    seen = batch.seen[first : len(batch.rows)] if batch.seen is not None else None
    picked = pick(logits, batch.sampling, [row.generator for row in rows], seen)
    logprobs = logits.float().log_softmax(-1).gather(-1, picked[:, None]).squeeze(-1)
    if seen is not None:
        seen[torch.arange(len(rows), device=logits.device), picked] = True
    for row, token, logprob in zip(rows, picked.tolist(), logprobs.tolist(), strict=True):
        keep(batch, row, token, logprob)
    for place in reversed(range(first, len(batch.rows))):
        if batch.rows[place].finish:
            leave(batch, place)


def keep(batch: Batch, row: Row, token: int, logprob: float) -> None:
    """Add a token to its row, or end the row."""
    if math.isnan(logprob):
        raise UserError("A model's logits must be numbers; this model gave NaN: train or load its weights again.")
    if token in batch.stop_ids:
        row.finish = "stop"
        return
    row.ids.append(token)
    row.logprobs.append(logprob)
    if batch.watch is not None and batch.watch(row.index, token):
        row.finish = "stop"
    elif len(row.ids) == row.room:
        row.finish = "length"


def leave(batch: Batch, place: int) -> None:
    """Take a row out of the batch; the last row moves into its place, in the cache too."""
    batch.cache.drop(place)
    moved = batch.rows.pop()
    if place < len(batch.rows):
        batch.rows[place] = moved
        if batch.seen is not None:
            batch.seen[place] = batch.seen[len(batch.rows)]
