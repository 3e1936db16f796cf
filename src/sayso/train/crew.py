"""Processes that share the work of a step on a CPU: each takes some of its parts, and their gradients are added up.

The matrices of a small model keep several processes of one thread busier than one process of several. The processes
are forks, so model, data and loss are there already; weights and gradients lie in memory that they share, and a pipe to
each says which step is next. One that loses its parent ends by itself.
"""

import mmap
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Summed:
    """What parts of a step come to: their losses, what to divide by, and the tokens seen."""

    loss: float
    count: int
    tokens: int

    def plus(self, other: "Summed") -> "Summed":
        """Both together."""
        return Summed(self.loss + other.loss, self.count + other.count, self.tokens + other.tokens)


Gradient = Callable[[int, slice], Summed]


@contextmanager
def crew(model: nn.Module, gradient: Gradient, processes: int) -> Iterator[Callable[[int], Summed]]:
    """Yield a function that leaves the summed gradient of a whole step in the weights and returns what it comes to.

    `gradient(step, which)` does so for some of the step's parts: the n-th process takes every `processes`-th from n.
    The order of adding up is fixed, so that equal runs with as many processes are equal to the bit.
    """
    if processes == 1:
        yield lambda step: gradient(step, slice(None))
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, shared in zip(weights, _shared_like(weights), strict=True):
        shared.copy_(weight.detach())
        weight.data = shared
    others = range(1, processes)
    gradients = {number: _shared_like(weights) for number in others}
    pipes = {number: multiprocessing.Pipe() for number in others}
    fork = multiprocessing.get_context("fork")
    helpers = [
        fork.Process(target=_help, args=(number, processes, weights, gradients[number], gradient, pipes), daemon=True)
        for number in others
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // processes))
    for helper in helpers:
        helper.start()
    for _, theirs in pipes.values():
        theirs.close()

    def whole(step: int) -> Summed:
        torch.set_num_threads(max(1, threads // processes))
        for ours, _ in pipes.values():
            ours.send(step)
        summed = gradient(step, slice(0, None, processes))
        for number, (ours, _) in pipes.items():
            answer = ours.recv()
            if isinstance(answer, Exception):
                raise answer
            summed = summed.plus(answer)
            for weight, added in zip(weights, gradients[number], strict=True):
                weight.grad = added.clone() if weight.grad is None else weight.grad.add_(added)
        torch.set_num_threads(threads)  # for the update, while the others wait
        return summed

    try:
        yield whole
    finally:
        torch.set_num_threads(threads)
        for ours, _ in pipes.values():
            ours.close()
        for helper in helpers:
            helper.join()


def _help(
    number: int,
    processes: int,
    weights: list[nn.Parameter],
    gradients: list[Tensor],
    gradient: Gradient,
    pipes: dict[int, tuple[Connection, Connection]],
) -> None:
    """Answer each step that the pipe asks for, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a run ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other, (parents, theirs) in pipes.items():
        parents.close()  # a copy that stayed open would hide the parent's end
        if other != number:
            theirs.close()
    pipe = pipes[number][1]
    while True:
        try:
            step = pipe.recv()
        except EOFError:
            return
        try:
            answer: Summed | Exception = gradient(step, slice(number, None, processes))
            for weight, shared in zip(weights, gradients, strict=True):
                shared.zero_() if weight.grad is None else shared.copy_(weight.grad)
                weight.grad = None
        except Exception as error:
            answer = error
        pipe.send(answer)


def _shared_like(weights: list[nn.Parameter]) -> list[Tensor]:
    """Return tensors of the weights' shapes in memory that forks share (not in /dev/shm, which is often small)."""
    assert all(weight.dtype == torch.float32 for weight in weights), "weights are trained in float32"
    sizes = [weight.numel() for weight in weights]
    flat = torch.frombuffer(mmap.mmap(-1, FLOAT * sum(sizes)), dtype=torch.float32)
    return [part.view(weight.shape) for part, weight in zip(flat.split(sizes), weights, strict=True)]
