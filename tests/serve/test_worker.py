"""The engine's thread: jobs in, pieces out, and what happens when one is left, one breaks, or the server ends."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from sayso.base.errors import BrokenModelError
from sayso.model import Transformer
from sayso.reply import Replier
from sayso.reply.text import Text
from sayso.sample.engine import Engine
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling
from sayso.serve.choice import Choice
from sayso.serve.errors import failure, status_of
from sayso.serve.worker import ClosingError, QueueFullError, Worker


def choices(replier: Replier, count: int = 1, tokens: int = 4000) -> list[Choice]:
    """Some greedy replies to one prompt."""
    prompt, sampling = replier.text_ids("the cat"), Sampling(temperature=0, max_tokens=tokens)
    return [Choice(index, Request(prompt, sampling, index), Text(replier.tokenizer)) for index in range(count)]


def test_the_choices_of_a_job_come_side_by_side(replier: Replier) -> None:
    """Two choices of one prompt take turns, and each ends with its reason and all its tokens."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=2), 0)
        pieces = [piece async for piece in worker.submit(choices(replier, 2, 6))]
        assert {piece.index for piece in pieces[:2]} == {0, 1}
        for index in (0, 1):
            own = [piece for piece in pieces if piece.index == index]
            assert (own[-1].finish, own[-1].tokens) == ("length", 6)
            assert sum(len(piece.ids) for piece in own) == sum(len(piece.logprobs) for piece in own) == 6
        assert worker.load == 0
        worker.close()

    asyncio.run(ask())


def test_a_stopped_job_frees_its_row_within_a_step(replier: Replier) -> None:
    """Stopped after its first piece, it ends as cancelled; the one that waited for its row begins."""

    async def ask() -> None:
        engine = Engine(replier.model, rows=1)
        worker = Worker(engine, 1)
        first, second = worker.submit(choices(replier)), worker.submit(choices(replier, tokens=3))
        assert (first.waits, second.waits) == (False, True)
        pieces = []
        async for piece in first:
            pieces.append(piece)
            worker.stop(first)
        assert pieces[-1].finish == "cancelled"
        assert [piece async for piece in second][-1].finish == "length"
        steps = engine.counts.steps
        assert steps < 1000
        assert engine.idle
        worker.close()

    asyncio.run(ask())


def test_a_full_queue_refuses_the_next(replier: Replier) -> None:
    """One row, one waits, the third is refused; when one has ended there is room again."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=1), 1)
        first, second = worker.submit(choices(replier)), worker.submit(choices(replier))
        with pytest.raises(QueueFullError):
            worker.submit(choices(replier))
        for job in (first, second):
            worker.stop(job)
            assert [piece async for piece in job][-1].finish == "cancelled"
        assert [piece async for piece in worker.submit(choices(replier, tokens=1))]
        worker.close()

    asyncio.run(ask())


def test_a_request_with_many_replies_counts_once_and_takes_turns(replier: Replier) -> None:
    """Forty replies on one row: one more request may wait, and gets the row long before the forty have ended."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=1), 1)
        many, one = worker.submit(choices(replier, 40, 20)), worker.submit(choices(replier, tokens=20))
        with pytest.raises(QueueFullError):
            worker.submit(choices(replier))
        assert [piece async for piece in one][-1].finish == "length"
        assert many.left > 35
        late = worker.submit(choices(replier, 2, tokens=20))
        assert [piece.finish async for piece in late if piece.finish] == ["length", "length"]
        assert many.left > 30
        finished = [piece.index async for piece in many if piece.finish]
        assert finished == list(range(40))
        worker.close()

    asyncio.run(ask())


def test_an_error_in_a_step_ends_its_requests_and_not_the_thread(replier: Replier, hook: Callable[..., None]) -> None:
    """What was decoded gets the error, and so does a call that fails; the next job runs."""
    broken = [True]

    def break_once() -> None:
        if broken.pop() if broken else False:
            raise ArithmeticError("broken")

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=1), 4)
        hook(worker.engine, break_once)
        with pytest.raises(ArithmeticError, match="broken"):
            _ = [piece async for piece in worker.submit(choices(replier))]
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
        assert [piece async for piece in worker.submit(choices(replier, tokens=2))][-1].finish == "length"
        assert worker.load == 0
        worker.close()

    asyncio.run(ask())


def test_a_request_that_the_engine_refuses_is_told_so(replier: Replier) -> None:
    """A prompt that fills the context is an error of its own job; the other choices of the job end with it."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=2), 4)
        fine, long = choices(replier, 2)
        long.request.prompt = [5] * replier.context
        with pytest.raises(Exception, match="must leave room"):
            _ = [piece async for piece in worker.submit([fine, long])]
        assert fine.request.finish == "cancelled"
        assert worker.load == 0
        worker.close()

    asyncio.run(ask())


def test_a_model_that_computes_no_numbers_is_the_servers_fault(replier: Replier) -> None:
    """No request can mend it, so its status is not that of a wrong request; the cause is said all the same."""
    broken = Transformer(replier.model.config)
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))

    async def ask() -> None:
        worker = Worker(Engine(broken, rows=1), 4)
        with pytest.raises(BrokenModelError) as told:
            _ = [piece async for piece in worker.submit(choices(replier))]
        assert (status_of(told.value), failure(told.value)["error"]["code"]) == (500, "broken_model")
        assert "produced NaN" in failure(told.value)["error"]["message"]
        worker.close()

    asyncio.run(ask())


def test_calls_come_between_steps(replier: Replier) -> None:
    """Something else with the model is done while a reply is being spoken."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=1), 4)
        job = worker.submit(choices(replier))
        shape = await worker.call(lambda: replier.model(torch.tensor([[5, 6]])).shape)
        assert shape[1] == 2
        assert job.left == 1
        worker.close()

    asyncio.run(ask())


def test_an_end_cancels_what_is_left_and_takes_nothing_new(replier: Replier) -> None:
    """Draining refuses what comes and lets the rest go on; closing ends the rest."""

    async def ask() -> None:
        worker = Worker(Engine(replier.model, rows=1), 4)
        running, waiting = worker.submit(choices(replier)), worker.submit(choices(replier))
        pieces = aiter(running)
        await anext(pieces)
        worker.drain()
        with pytest.raises(ClosingError):
            worker.submit(choices(replier))
        assert not (await anext(pieces)).finish
        worker.close()
        assert [piece async for piece in pieces][-1].finish == "cancelled"
        assert [piece.finish async for piece in waiting] == ["cancelled"]

    asyncio.run(ask())


ABANDONED = """
import asyncio
import torch
from sayso.model import ModelConfig, Transformer
from sayso.reply.text import Text
from sayso.sample.engine import Engine
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling
from sayso.serve.choice import Choice
from sayso.serve.worker import Worker
from sayso.token.train import train

tokenizer = train("bpe", ["the cat"], 270)
config = ModelConfig(
    vocab_size=tokenizer.vocab_size, layers=1, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64, context=9000
)
model = Transformer(config).initialize(torch.Generator().manual_seed(0)).eval()

async def ask():
    request = Request([1, 2], Sampling(temperature=0, max_tokens=8000))
    job = Worker(Engine(model), 0).submit([Choice(0, request, Text(tokenizer))])
    await job.pieces.get()
    raise SystemExit(3)

asyncio.run(ask())
"""


def test_a_process_that_ends_under_a_step_ends_well() -> None:
    """A worker that nobody closed stops with its process, which keeps its own exit code and says nothing."""
    ended = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (3, "")
