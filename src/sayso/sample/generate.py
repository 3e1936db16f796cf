"""Complete many prompts, or stream the tokens of one, with an engine made for the call."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sayso.model.transformer import Transformer
from sayso.sample.blocks import BLOCK
from sayso.sample.engine import ROWS, Engine
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling, seeded

_PASS_TOKENS = 2048  # prompt tokens in one pass: more than in a server, where other rows wait for their next token
REFILL = 4  # waiting prompts start when 1 / REFILL of the rows is free: one at a time is inefficient

_Watch = Callable[[int, int], bool]
"""Called with (row, id) for every new token that is not a stop id; True ends the row there."""


@dataclass(frozen=True)
class Completion:
    """The completion of one prompt."""

    ids: list[int]
    """The new tokens, without the stop id."""
    finish: str
    """"stop" (a stop id, or the watcher ended it) or "length" (max_tokens, or the context was full)."""
    logprobs: list[float]
    """Natural log-probability of each id under the model itself, before penalties, temperature and filters."""
    ended_by: int | None = None
    """The stop id that ended it, if any."""
    ended_logprob: float = 0.0
    """Log-probability of that id, as in `logprobs`."""


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: frozenset[int] = frozenset(),
    *,
    rows: int = ROWS,
    watch: _Watch | None = None,
) -> list[Completion]:
    """Return one completion per prompt, in the prompts' order; at most `rows` are in memory at once.

    Raises `UserError` for a prompt that is empty or leaves no room in the model's context, before anything is decoded,
    and for a damaged model or settings that exclude every token.
    """
    if not prompts:
        return []
    sampling, rows = seeded(sampling), min(rows, len(prompts))
    requests = [Request(prompt, sampling, index, stop_ids) for index, prompt in enumerate(prompts)]
    engine = new_engine(model, max(map(len, prompts)), sampling, rows)
    for request in sorted(requests, key=lambda request: -len(request.prompt)):  # similar lengths together
        if watch is not None:
            request.watch = partial(watch, request.index)
        engine.add(request)
    while not engine.idle:
        for request in engine.step():
            if request.error:
                raise request.error
    return [
        Completion(request.ids, request.finish, request.logprobs, request.ended_by, request.ended_logprob)
        for request in requests
    ]


def stream(
    model: Transformer,
    prompt: Sequence[int],
    sampling: Sampling,
    stop_ids: frozenset[int] = frozenset(),
    *,
    row: int = 0,
) -> Iterator[int]:
    """Yield the ids that `generate` returns for a prompt at index `row`, each as soon as it is available.

    Raises `UserError` at the call, not at the first token, for a prompt that is empty or leaves no room.
    """
    request = Request(prompt, seeded(sampling), row, stop_ids)
    engine = new_engine(model, len(prompt), sampling, 1)
    engine.add(request)
    return _stream(engine, request)


def _stream(engine: Engine, request: Request) -> Iterator[int]:
    yielded = 0
    while not request.finish:
        engine.step()
        if request.error:
            raise request.error
        yield from request.ids[yielded:]
        yielded = len(request.ids)


def new_engine(model: Transformer, longest: int, sampling: Sampling, rows: int) -> Engine:
    """Return an engine with enough cache for `rows` rows with prompts of up to `longest` tokens."""
    each = min(longest + sampling.max_tokens, model.config.context) + BLOCK
    return Engine(model, rows=rows, tokens=rows * each, pass_tokens=_PASS_TOKENS, refill=-(-rows // REFILL))
