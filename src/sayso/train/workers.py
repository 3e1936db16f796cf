"""Processes that share the work of a step on a CPU: each takes some of its parts, and their gradients are summed.

With the matrices of a small model, several single-threaded processes are faster than one process of several threads.
The processes are forks, so model, data and loss exist in each; weights and gradients are in shared memory, and a pipe
to each process announces the next step. A process that loses its parent exits.
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

from sayso.base.ended import ended
from sayso.base.errors import UserError

_FLOAT = 4  # bytes
GONE = 5.0  # seconds until a process with a broken pipe has exited


@dataclass(frozen=True)
class PartialSum:
    """Totals of the parts of a step: their losses, divisor, and the tokens seen."""

    loss: float
    count: int
    tokens: int
    figures: dict[str, tuple[float, int]] = field(default_factory=dict)
    """By name, the sum of the values and their number."""
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
    """Whether a step on this kind of device can be shared: a CPU, on Linux without a GPU (forks lose its threads)."""
    return device == "cpu" and sys.platform == "linux" and not torch.cuda.is_available()


@contextmanager
def worker_pool(model: nn.Module, gradient: Gradient, processes: int) -> Iterator[Callable[[int], PartialSum]]:
    """Yield a function that leaves the summed gradient of a whole step in the weights and returns the step's totals.

    `gradient(step, which)` does so for some of the step's parts: process n takes every `processes`-th part from n.
    The order of summation is fixed, so equal runs with the same number of processes are bitwise equal. Each process has
    one thread: OpenMP's other threads do not survive a fork.
    """
    if processes == 1:
        yield lambda step: gradient(step, slice(None))
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, shared in zip(weights, _shared_like(weights), strict=True):
        shared.copy_(weight.detach())
        weight.data = shared
    helpers: list[_Helper] = []
    threads = torch.get_num_threads()

    def whole(step: int) -> PartialSum:
        torch.set_num_threads(1)
        for helper in helpers:
            helper.ask(step, int(torch.randint(2**62, ())))
        summed = gradient(step, slice(0, None, processes))
        for helper in helpers:
            summed = summed.plus(helper.answer())
            for weight, added in zip(weights, helper.gradients, strict=True):
                weight.grad = added.clone() if weight.grad is None else weight.grad.add_(added)
        torch.set_num_threads(threads)  # for the update, while the others wait
        return summed

    try:
        torch.set_num_threads(1)
        for number in range(1, processes):
            helpers.append(_Helper(gradient, slice(number, None, processes), weights, list(helpers)))
        yield whole
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            helper.pipe.close()
        for helper in helpers:
            helper.process.join()


class _Helper:
    """Another process that computes its share of each step."""

    def __init__(self, gradient: Gradient, share: slice, weights: list[nn.Parameter], earlier: list["_Helper"]) -> None:
        self.gradients = _shared_like(weights)
        self.pipe, theirs = multiprocessing.Pipe()
        parents = [self.pipe, *(helper.pipe for helper in earlier)]  # an open copy would hide the parent's exit
        given = (gradient, share, weights, self.gradients, theirs, parents)
        self.process = multiprocessing.get_context("fork").Process(target=_help, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, step: int, seed: int) -> None:
        """Start its share of a step; its random draws follow from `seed`."""
        with self._followed():
            self.pipe.send((step, seed))

    def answer(self) -> PartialSum:
        """Wait for its share; its gradients are then in `gradients`. Its errors are raised here."""
        with self._followed():
            answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return cast(PartialSum, answer)

    @contextmanager
    def _followed(self) -> Iterator[None]:
        """Turn a broken pipe into an error that says how the process ended."""
        try:
            yield
        except (EOFError, OSError) as error:
            self.process.join(GONE)
            raise UserError(
                f"A process that shared the training step {ended(self.process.exitcode)}; repeat the command to resume "
                "from the newest checkpoint. --processes 1 needs no other process, and --micro-rows needs less memory."
            ) from error


def _help(
    gradient: Gradient,
    share: slice,
    weights: list[nn.Parameter],
    gradients: list[Tensor],
    pipe: Connection,
    parents: list[Connection],
) -> None:
    """Answer each step requested through the pipe, until its other end is closed."""
    for asked in (signal.SIGINT, signal.SIGTERM):  # a process group receives them: the parent decides when to end
        signal.signal(asked, signal.SIG_IGN)
    for end in parents:
        end.close()
    with suppress(EOFError, OSError):
        while True:
            step, seed = pipe.recv()
            torch.manual_seed(seed)  # drawn by the parent, whose random state is what a checkpoint keeps
            try:
                answer: PartialSum | Exception = gradient(step, share)
                for weight, shared in zip(weights, gradients, strict=True):
                    shared.zero_() if weight.grad is None else shared.copy_(weight.grad)
                    weight.grad = None
            except Exception as error:
                answer = _sendable(error)
            pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or as text if it cannot be pickled."""
    told = traceback.format_exc()
    try:
        same: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(told)
    same.add_note(told)
    return same


def _shared_like(weights: list[nn.Parameter]) -> list[Tensor]:
    """Return tensors of the weights' shapes in memory shared between forks (not in /dev/shm, which is often small)."""
    assert all(weight.dtype == torch.float32 for weight in weights), "weights are trained in float32"
    sizes = [weight.numel() for weight in weights]
    flat = torch.frombuffer(mmap.mmap(-1, _FLOAT * sum(sizes)), dtype=torch.float32)
    return [part.view(weight.shape) for part, weight in zip(flat.split(sizes), weights, strict=True)]
