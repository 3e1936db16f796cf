"""The engine: prompts of unequal length enter, completions leave, decoded side by side.

Continuous batching with a plain state (after nano-vllm): up to `rows` rows decode together, a finished row leaves at
once, and waiting prompts enter as rows fall free. A row's text is a function of its prompt, the seed and its index:
what else is in the batch does not change it. B rows in the batch, T longest prompt, V vocabulary.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model.transformer import Transformer
from sayso.sample.cache import Cache
from sayso.sample.pick import pick
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

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
class Batch:
    """The requests that decode together; `rows[i]` is row i of the cache."""

    model: Transformer
    cache: Cache
    rows: list[Request] = field(default_factory=list)


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
    waiting = [new_request(model, prompt, sampling, index, stop_ids) for index, prompt in enumerate(prompts)]
    if watch is not None:
        for request in waiting:
            request.watch = partial(watch, request.index)
    done = list(waiting)
    waiting.sort(key=lambda row: len(row.prompt))  # taken from the end: longest first, neighbours of like length
    batch = new_batch(model, min(rows, len(prompts)))
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
    only = new_request(model, prompt, sampling, row, stop_ids)
    return _stream(new_batch(model, 1), only)


def _stream(batch: Batch, row: Request) -> Iterator[int]:
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


def new_request(
    model: Transformer, prompt: Sequence[int], sampling: Sampling, index: int, stop_ids: frozenset[int]
) -> Request:
    """Return the request that goes on from a prompt; errors as in `room`."""
    return Request(prompt, sampling, index, stop_ids, room=room(model, prompt, sampling))


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


def new_batch(model: Transformer, rows: int) -> Batch:
    """Return an empty batch with room for `rows` rows."""
    return Batch(model, Cache(model.config, rows, model.device, model.dtype))


def prefill_groups(rows: Sequence[Request]) -> Iterator[list[Request]]:
    """Split rows, longest first, into groups whose padded prompts have at most `PREFILL_TOKENS` tokens."""
    start = 0
    while start < len(rows):
        size = max(1, PREFILL_TOKENS // len(rows[start].prompt))
        yield list(rows[start : start + size])
        start += size


@torch.inference_mode()
def admit(batch: Batch, rows: Sequence[Request]) -> None:
    """Prefill the rows' prompts and give each its first token; the head is computed at their last positions only."""
    device, first = batch.model.device, len(batch.rows)
    counts = [len(row.prompt) for row in rows]
    ids = torch.zeros(len(rows), max(counts), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : counts[place]] = torch.tensor(row.prompt)
    positions, mask = batch.cache.extend(first, counts)
    hidden = batch.model.hidden(ids.to(device), positions=positions, mask=mask, cache=batch.cache)
    last = hidden[torch.arange(len(rows), device=device), torch.tensor(counts, device=device) - 1]
    batch.rows += rows
    take(batch, first, batch.model.head(last))


@torch.inference_mode()
def step(batch: Batch) -> None:
    """Give every row of the batch its next token; rows that finish leave."""
    ids = torch.tensor([[row.ids[-1]] for row in batch.rows]).to(batch.model.device)
    positions, mask = batch.cache.extend(0, [1] * len(batch.rows))
    logits = batch.model(ids, positions=positions, mask=mask, cache=batch.cache)
    take(batch, 0, logits[:, 0])


def take(batch: Batch, first: int, logits: Tensor) -> None:
    """Pick a token for each row from `first` on, given logits [B, V]; the finished rows leave the batch."""
    rows = batch.rows[first:]
    picked = pick(logits, rows)
    for row, token, logprob in zip(rows, picked.ids, picked.logprobs, strict=True):
        keep(row, token, logprob)
    for place in reversed(range(first, len(batch.rows))):
        if batch.rows[place].finish:
            leave(batch, place)


def keep(row: Request, token: int, logprob: float) -> None:
    """Add a token to its row, or end the row."""
    if math.isnan(logprob):
        raise UserError("A model's logits must be numbers; this model gave NaN: train or load its weights again.")
    if token in row.stop_ids:
        row.finish = "stop"
        return
    row.ids.append(token)
    row.logprobs.append(logprob)
    if row.watch is not None and row.watch(token):
        row.finish = "stop"
    elif len(row.ids) == row.room:
        row.finish = "length"


def leave(batch: Batch, place: int) -> None:
    """Take a row out of the batch; the last row moves into its place, in the cache too."""
    batch.cache.drop(place)
    moved = batch.rows.pop()
    if place < len(batch.rows):
        batch.rows[place] = moved
