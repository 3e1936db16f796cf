"""A stack machine in weights: what n steps cost with a hull of keys, and with a cache that tries all keys.

Every token of the run is compared with a plain interpreter of the machine. `ours` and `peer` are the exponents p of the
time for n tokens, n^p, fitted to the second half of the sizes in logarithms; lower is better. Beside them: the
exponents of the time within the caches alone, as everything else in a step costs the same however long the run is.
Times are seconds of the processor on one thread, so that other work on the machine does not count.
"""

import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import linear_regression

from bench.harness import parser, result, rounded, run_each, save_picture, say, sized
from sayso.rasp.machine.cache import Cache, HullCache, PlainCache
from sayso.rasp.machine.run import generate
from sayso.rasp.machine.stack import STOPS, assemble, interpret, stack_machine
from sayso.rasp.machine.weights import compile_program
from sayso.report.chart import COLORS, Panel, Series, picture

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "rasp-machine.svg"
SIZES = sized((781, 1_562, 3_125, 6_250, 12_500, 25_000, 50_000, 100_000), (125, 250, 500, 1_000))
OF_PLAIN = SIZES[: sized(6, 3)]
"""Sizes for the cache that tries all keys, whose 100,000 tokens would take many minutes."""
PROGRAM = """
    push 200
    store 0
outer:
    push 100
    store 1
inner:
    load 1
    push 1
    sub
    dup
    store 1
    jump_if inner
    load 0
    dup
    print
    push 1
    sub
    dup
    store 0
    jump_if outer
    halt
"""
Times = dict[int, float]


class Timed:
    """A cache whose time is measured."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.spent = cache, 0.0

    def add(self, x: int, y: int) -> None:
        """Add a key."""
        began = time.thread_time()
        self.cache.add(x, y)
        self.spent += time.thread_time() - began

    def best(self, a: int, b: int) -> int:
        """Return the number of the best key."""
        began = time.thread_time()
        found = self.cache.best(a, b)
        self.spent += time.thread_time() - began
        return found


def main() -> None:
    """Run the machine with both caches, and fit the exponents."""
    parser("rasp_machine", __doc__).parse_args()
    weights, program = compile_program(stack_machine()), assemble(PROGRAM)
    jobs = [(HullCache, SIZES), (PlainCache, OF_PLAIN)]
    runs = dict(zip(("HullCache", "PlainCache"), run_each(measured, jobs, 2), strict=True))
    powers = {name: [exponent(times) for times in sides] for name, sides in runs.items()}
    ours, peer = powers["HullCache"], powers["PlainCache"]
    for name, sides in runs.items():
        say(f"{name}: exponents {powers[name]}, times {sides[0]}, in the caches {sides[1]}")
    save_picture(PICTURE, drawn(runs, powers))
    seconds = {name: {str(size): one for size, one in sides[0].items()} for name, sides in runs.items()}
    caches = {name: {str(size): one for size, one in sides[1].items()} for name, sides in runs.items()}
    result(
        "rasp_machine",
        "exponent of the time, lower is better",
        ours[0],
        peer[0],
        exponents_of_caches=rounded({"ours": ours[1], "peer": peer[1]}),
        tokens=SIZES[-1],
        exact=True,
        weights={"dimensions": len(weights.names), "blocks": len(weights.blocks), "tokens": len(weights.embed)},
        largest=float((len(program) + SIZES[-1] - 1) ** 2),
        seconds=seconds,
        seconds_in_caches=caches,
    )


def measured(kind: type[HullCache] | type[PlainCache], sizes: Sequence[int]) -> tuple[Times, Times]:
    """Return the seconds of the first n tokens, and those within the caches, for each size n.

    Raises `RuntimeError` for a token that differs from the interpreter's.
    """
    weights, program = compile_program(stack_machine()), assemble(PROGRAM)
    expected = islice(interpret(program), sizes[-1])
    caches: list[Timed] = []

    def cache() -> Cache:
        caches.append(Timed(kind()))
        return caches[-1]

    whole: Times = {}
    inside: Times = {}
    began = time.process_time()
    tokens = generate(weights, program, STOPS, cache)
    for number, (wanted, found) in enumerate(zip(expected, tokens, strict=False), 1):
        if found != wanted:
            raise RuntimeError(f"Token {number} is '{found}', and '{wanted}' with the interpreter.")
        if number in sizes:
            whole[number], inside[number] = time.process_time() - began, sum(one.spent for one in caches)
            say(f"{kind.__name__}: {number:,} tokens in {whole[number]:.2f} s, {inside[number]:.2f} s in the caches")
    return whole, inside


def exponent(times: Times) -> float:
    """Return the slope of log time on log n over the second half of the sizes."""
    points = [(math.log(size), math.log(taken)) for size, taken in times.items()][len(times) // 2 :]
    return linear_regression(*zip(*points, strict=True)).slope


def drawn(runs: dict[str, tuple[Times, Times]], powers: dict[str, list[float]]) -> str:
    """Return the picture: time over the number of tokens, both as powers of ten."""
    names = {"HullCache": "hull of keys", "PlainCache": "all keys"}
    panels = []
    for place, title in enumerate(("The whole run", "Within the caches")):
        series = [
            Series(
                f"{label}: n^{powers[name][place]:.2f}",
                [(math.log10(size), math.log10(taken)) for size, taken in runs[name][place].items()],
                color,
                "both",
            )
            for (name, label), color in zip(names.items(), COLORS, strict=False)
        ]
        panels.append(Panel(title, "log10 of tokens", "log10 of seconds", series))
    return picture("A stack machine in weights: the cost of n steps", panels)


if __name__ == "__main__":
    main()
