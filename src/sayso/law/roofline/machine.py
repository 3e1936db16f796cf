"""What a machine can do: products by shape, moving memory by size, attention by length, and the cost of beginning.

All times are measured on the device with the current number of threads, each as the median of several repetitions.
Nothing here knows the model whose speed is to be predicted.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F

from sayso.law.roofline.operations import Kind
from sayso.model.linear import linear

SECONDS, REPEATS = 0.01, 5  # least time of a repetition, and repetitions
ROWS = (1, 16, 128, 1024, 4096)
WEIGHTS = ((64, 64), (128, 512), (256, 1024), (1024, 256), (576, 1536), (1536, 576), (256, 8192), (1024, 1024))
"""Inputs and outputs of the products that are measured, for each number of rows."""
BYTES = tuple(2**power for power in range(10, 28))
LENGTHS = (64, 256, 1024)
_NEAREST = 4


@dataclass(frozen=True)
class Rate:
    """A product that was measured."""

    rows: int
    inputs: int
    outputs: int
    flops_per_second: float


@dataclass(frozen=True)
class Machine:
    """The figures of a machine."""

    device: str
    threads: int
    products: Mapping[str, Sequence[Rate]]
    """By "torch", and on a CPU by "oneDNN"."""
    moves: Mapping[Kind, Sequence[tuple[int, float]]]
    """For each kind of operation, its seconds by the bytes that it reads and writes."""
    attention: Mapping[Kind, Sequence[tuple[int, float]]]
    """Operations per second by length, forward and backward."""

    @property
    def peak(self) -> float:
        """Operations per second of the fastest product."""
        return max(rate.flops_per_second for rates in self.products.values() for rate in rates)

    @property
    def launch(self) -> float:
        """Seconds of an operation that does next to nothing."""
        return min(seconds for moves in self.moves.values() for _, seconds in moves)

    def bandwidth(self, size: int) -> float:
        """Return the bytes per second at which operations over `size` bytes read and write them."""
        return size / self.moving("element", size)

    @property
    def memory_bandwidth(self) -> float:
        """Bytes per second of operations over 128 MiB, beyond the caches of most machines."""
        return self.bandwidth(BYTES[-1])

    def moving(self, kind: Kind, size: int) -> float:
        """Return the seconds of an operation that reads and writes `size` bytes; beyond the largest, in proportion."""
        points = self.moves[kind]
        return _interpolated(points, size) * max(1.0, size / points[-1][0])

    def attending(self, kind: Kind, length: int) -> float:
        """Return the operations per second of attention over `length` tokens."""
        return _interpolated(self.attention[kind], length)

    def multiplying(self, who: str, rows: int, inputs: int, outputs: int) -> float:
        """Return the operations per second of a product, from the nearest ones that were measured.

        Distances are those of the logarithms of the three sizes; the nearer, the more a rate counts.
        """
        wanted = [math.log2(x) for x in (rows, inputs, outputs)]
        near = []
        for rate in self.products.get(who) or self.products["torch"]:
            own = [math.log2(x) for x in (rate.rows, rate.inputs, rate.outputs)]
            near.append((math.dist(wanted, own), math.log(rate.flops_per_second)))
        near = sorted(near)[:_NEAREST]
        weights = [1 / (distance**2 + 1e-6) for distance, _ in near]
        mean = sum(weight * rate for weight, (_, rate) in zip(weights, near, strict=True)) / sum(weights)
        return math.exp(mean)


def measure(device: str = "cpu", progress: Callable[[str], None] = lambda _: None) -> Machine:
    """Measure the machine; takes some ten seconds."""
    progress("products")
    products = {"torch": _products(torch.mm, device)}
    if device == "cpu":
        products["oneDNN"] = _products(lambda x, weight: linear(x, weight.T), device)
    progress("memory")
    moves: dict[Kind, Sequence[tuple[int, float]]] = {
        "element": _moves(lambda x, y: x + y, 3, device),
        "exponential": _moves(lambda x, _: F.silu(x), 2, device),
        "index": _moves(_gathered, 2, device),
    }
    progress("attention")
    return Machine(device, torch.get_num_threads(), products, moves, _attention(device))


def seconds_of(work: Callable[[], object], device: str = "cpu") -> float:
    """Return the median seconds of a piece of work, repeated often enough to be measured."""

    def timed(times: int) -> float:
        _finish(device)
        began = time.perf_counter()
        for _ in range(times):
            work()
        _finish(device)
        return (time.perf_counter() - began) / times

    once = min(timed(1), timed(1))
    times = max(1, math.ceil(SECONDS / max(once, 1e-9)))
    return statistics.median(timed(min(times, 10_000)) for _ in range(REPEATS))


def _products(product: Callable[[torch.Tensor, torch.Tensor], object], device: str) -> list[Rate]:
    found = []
    for inputs, outputs in WEIGHTS:
        for rows in ROWS:
            x, weight = torch.randn(rows, inputs, device=device), torch.randn(outputs, inputs, device=device).T
            seconds = seconds_of(partial(product, x, weight), device)
            found.append(Rate(rows, inputs, outputs, 2 * rows * inputs * outputs / seconds))
    return found


def _moves(
    operation: Callable[[torch.Tensor, torch.Tensor], object], tensors: int, device: str
) -> list[tuple[int, float]]:
    """Return the seconds of an operation by the bytes of its `tensors` inputs and outputs together."""
    found = []
    for size in BYTES:
        count = size // (4 * tensors)
        x, y = torch.randn(count, device=device), torch.randn(count, device=device)
        found.append((size, seconds_of(partial(operation, x, y), device)))
    return found


def _gathered(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Read rows of 64 numbers in another order."""
    rows = x[: len(x) // 64 * 64].view(-1, 64)
    return rows.index_select(0, torch.arange(len(rows) - 1, -1, -1, device=x.device))


def _attention(device: str) -> dict[Kind, Sequence[tuple[int, float]]]:
    found: dict[Kind, list[tuple[int, float]]] = {"attention": [], "attention backward": []}
    for length in LENGTHS:
        rows, heads, size = max(1, 2048 // length), 4, 64
        q, k, v = (torch.randn(rows, heads, length, size, device=device, requires_grad=True) for _ in range(3))
        flops = 4 * rows * heads * length * length * size
        both = partial(_there_and_back, q, k, v)
        with torch.no_grad():
            forward = seconds_of(partial(F.scaled_dot_product_attention, q, k, v, is_causal=True), device)
        backward = max(seconds_of(both, device) - forward, 1e-9)
        found["attention"].append((length, flops / forward))
        found["attention backward"].append((length, 2.5 * flops / backward))
    return dict(found)


def _there_and_back(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.autograd.grad(out, (q, k, v), torch.ones_like(out))


def _interpolated(points: Sequence[tuple[int, float]], at: int) -> float:
    """Return the value between points, linear in the logarithms of both, and constant beyond the ends."""
    last_at, last = points[-1]
    if at >= last_at:
        return last
    for (low, before), (high, after) in pairwise(points):
        if at <= high:
            share = max(0.0, math.log(at / low)) / math.log(high / low)
            return float(math.exp((1 - share) * math.log(before) + share * math.log(after)))
    raise AssertionError("the points are sorted")


def _finish(device: str) -> None:
    if device != "cpu":
        getattr(torch, device).synchronize()
