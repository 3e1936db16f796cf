"""Data parallelism on a CPU: processes that share a step, each with some of its parts; their gradients are summed.

For the matrices of a small model, several single-threaded processes are faster than one process of several threads.
The processes are forks, so model, data and loss exist in each; weights and gradients are in shared memory, and a pipe
to each process announces the next step. A worker exits when its parent does.
"""

import mmap
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

import torch
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.base.exit_code import describe_exit

_FLOAT = 4  # bytes
EXIT_SECONDS = 5.0  # time for a process with a broken pipe to exit


@dataclass(frozen=True)
class PartialSum:
    """Totals over parts of a step: the loss, its divisor, and the tokens seen."""

    loss: float
    count: int
    tokens: int
    figures: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Sum and number of the values, by name."""
    trained: int = 0
    """Tokens that have a target."""

    def plus(self, other: "PartialSum") -> "PartialSum":
        """Return the sum of both."""
        both = dict(self.figures)
        for name, (total, items) in other.figures.items():
            before = both.get(name, (0.0, 0))
            both[name] = before[0] + total, before[1] + items
        return PartialSum(
            self.loss + other.loss,
            self.count + other.count,
            self.tokens + other.tokens,
            both,
            self.trained + other.trained,
        )


Gradient = Callable[[int, slice], PartialSum]


def can_fork(device: str) -> bool:
    """Whether processes can share a step on this kind of device: a CPU, on Linux without a GPU, which breaks forks."""
    return device == "cpu" and sys.platform == "linux" and not torch.cuda.is_available()


@contextmanager
def worker_pool(model: nn.Module, gradient: Gradient, processes: int) -> Iterator[Callable[[int], PartialSum]]:
    """Yield a function that adds the gradient of an entire step to the weights and returns the step's totals.

    `gradient(step, which)` does so for some of the step's parts: process n takes every `processes`-th part from n.
    The order of summation is fixed, so equal runs with the same number of processes are bitwise equal. Each process has
    one thread, because OpenMP's other threads do not survive a fork.
    """
    if processes == 1:
        yield lambda step: gradient(step, slice(None))
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, shared in zip(weights, _shared_like(weights), strict=True):
        shared.copy_(weight.detach())
        weight.data = shared
    workers: list[_Worker] = []
    threads = torch.get_num_threads()

    def run_step(step: int) -> PartialSum:
        torch.set_num_threads(1)
        for worker in workers:
            worker.start(step, int(torch.randint(2**62, ())))
        summed = gradient(step, slice(0, None, processes))
        for worker in workers:
            summed = summed.plus(worker.result())
            for weight, added in zip(weights, worker.gradients, strict=True):
                weight.grad = added.clone() if weight.grad is None else weight.grad.add_(added)
        torch.set_num_threads(threads)  # for the update, while the workers wait
        return summed

    try:
        torch.set_num_threads(1)
        for number in range(1, processes):
            workers.append(_Worker(gradient, slice(number, None, processes), weights, list(workers)))
        yield run_step
    finally:
        torch.set_num_threads(threads)
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join()


class _Worker:
    """A process that computes its share of each step."""

    def __init__(self, gradient: Gradient, share: slice, weights: list[nn.Parameter], earlier: list["_Worker"]) -> None:
        self.gradients = _shared_like(weights)
        self.pipe, theirs = multiprocessing.Pipe()
        parents = [self.pipe, *(worker.pipe for worker in earlier)]  # an open copy would hide the parent's exit
        arguments = (gradient, share, weights, self.gradients, theirs, parents)
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def start(self, step: int, seed: int) -> None:
        """Start its share of a step, with its random generator seeded."""
        with self._explained():
            self.pipe.send((step, seed))

    def result(self) -> PartialSum:
        """Wait for its share, whose gradients are then in `gradients`. Raises the errors of the process."""
        with self._explained():
            result = self.pipe.recv()
        if isinstance(result, Exception):
            raise result
        return cast(PartialSum, result)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a broken pipe into a `UserError` that says how the process ended."""
        try:
            yield
        except (EOFError, OSError) as error:
            self.process.join(EXIT_SECONDS)
            raise UserError(
                f"A process that shared the training step {describe_exit(self.process.exitcode)}; repeat the command "
                "to resume from the newest checkpoint. --processes 1 needs no other process, and --micro-rows less "
                "memory."
            ) from error


def _work(
    gradient: Gradient,
    share: slice,
    weights: list[nn.Parameter],
    gradients: list[Tensor],
    pipe: Connection,
    parents: list[Connection],
) -> None:
    """Compute each step requested through the pipe, until its other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the process group; the parent decides when to stop
        signal.signal(number, signal.SIG_IGN)
    for end in parents:
        end.close()
    with suppress(EOFError, OSError):
        while True:
            step, seed = pipe.recv()
            torch.manual_seed(seed)  # chosen by the parent, whose random state is in the checkpoint
            try:
                result: PartialSum | Exception = gradient(step, share)
                for weight, shared in zip(weights, gradients, strict=True):
                    shared.zero_() if weight.grad is None else shared.copy_(weight.grad)
                    weight.grad = None
            except Exception as error:
                result = _sendable(error)
            pipe.send(result)


def _sendable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or as text if it cannot be pickled."""
    text = traceback.format_exc()
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    copy.add_note(text)
    return copy


def _shared_like(weights: list[nn.Parameter]) -> list[Tensor]:
    """Return tensors of the weights' shapes in memory shared between forks (not in /dev/shm, which is often small)."""
    assert all(weight.dtype == torch.float32 for weight in weights), "weights are trained in float32"
    sizes = [weight.numel() for weight in weights]
    flat = torch.frombuffer(mmap.mmap(-1, _FLOAT * sum(sizes)), dtype=torch.float32)
    return [part.view(weight.shape) for part, weight in zip(flat.split(sizes), weights, strict=True)]
