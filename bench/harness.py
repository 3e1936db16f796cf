"""A race: ours and the peer take turns, so that a busy machine slows both, and the medians are compared.

Takes two functions that do the same work and return how much they did (tokens, documents); prints the rounds on
standard error and one JSON object as the last line of standard output:
`{"name", "unit", "ours", "peer", "ratio", "details"}`, where more is better and `ratio` is ours / peer.
"""

import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from sayso.cli.allocator import TUNABLES, VARIABLE

Work = Callable[[], float]
Turn = Callable[[], None]


def speed(work: Work) -> float:
    """Return how much work a second one call does."""
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


def race(ours: Work, peer: Work, *, rounds: int = 5, label: str = "") -> tuple[float, float]:
    """Return the median speeds of ours and the peer over alternating rounds, after one round of warm-up each."""
    ours()
    peer()
    speeds: tuple[list[float], list[float]] = [], []
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):  # who goes first alternates too
            speeds[side].append(speed((ours, peer)[side]))
        print(f"{label} round {number + 1}: ours {speeds[0][-1]:,.1f}, peer {speeds[1][-1]:,.1f}", file=sys.stderr)
    return statistics.median(speeds[0]), statistics.median(speeds[1])


def turns(sides: Mapping[str, Work], *, rounds: int = 5, label: str = "") -> dict[str, float]:
    """Return the median of the speeds that each side tells of itself, over rounds in turn after one of warm-up."""
    told: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in sides if number % 2 else reversed(sides):  # who goes first alternates
            told[name].append(sides[name]())
        shown = ", ".join(f"{name} {speeds[-1]:,.1f}" for name, speeds in told.items())
        print(f"{label} round {number}: {shown}", file=sys.stderr, flush=True)
    return {name: statistics.median(speeds[1:]) for name, speeds in told.items()}


@dataclass(frozen=True)
class Side:
    """One side of a race between processes."""

    work: Callable[..., None]
    """A function of a module, called with a `Turn` and `given`; it calls the turn after each step, and never ends."""
    given: tuple[Any, ...]
    keeps_memory: bool
    """Whether its process starts with the memory settings of a Sayso command that trains."""


def race_processes(sides: Mapping[str, Side], *, steps: int, rounds: int = 5) -> dict[str, float]:
    """Return each side's median steps a second over alternating turns of `steps`, each in a process of its own.

    How a process gets its memory is settled when it starts, which is why a race may need processes. The first turn
    of each side is warm-up.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    with _started(sides, steps) as pipes:
        for number in range(rounds + 1):
            for name in sides if number % 2 else reversed(sides):
                pipes[name].send("go")
                times[name].append(pipes[name].recv())
            shown = ", ".join(f"{name} {steps / taken[-1]:,.2f}" for name, taken in times.items())
            print(f"round {number}: {shown}", file=sys.stderr, flush=True)
    return {name: steps / statistics.median(taken[1:]) for name, taken in times.items()}


@contextmanager
def _started(sides: Mapping[str, Side], steps: int) -> Iterator[dict[str, Connection]]:
    """Yield the pipe to each side's process; the processes end with it."""
    pipes: dict[str, Connection] = {}
    processes = []
    context = multiprocessing.get_context("spawn")
    for name, side in sides.items():
        pipes[name], theirs = context.Pipe()
        os.environ.pop(VARIABLE, None)
        if side.keeps_memory:
            os.environ[VARIABLE] = ":".join(f"{key}={value}" for key, value in TUNABLES.items())
        processes.append(context.Process(target=_side, args=(side, theirs, steps)))  # not a daemon: it may have its own
        processes[-1].start()
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _side(side: Side, pipe: Connection, steps: int) -> None:
    """Work through a side's turns, one for each message."""
    done, began = 0, 0.0

    def turn() -> None:
        nonlocal done, began
        done += 1
        if done == steps:
            pipe.send(time.perf_counter() - began)
            pipe.recv()
            done, began = 0, time.perf_counter()

    with suppress(EOFError):  # the race is over
        pipe.recv()
        began = time.perf_counter()
        side.work(turn, *side.given)


def result(name: str, unit: str, ours: float, peer: float, **details: Any) -> None:
    """Print the last line: the figures as one JSON object, with the machine they were measured on."""
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),  # above the cores: others were at work, trust the ratio only
        "python": platform.python_version(),
    }
    figures = {
        "name": name,
        "unit": unit,
        "ours": _rounded(ours),
        "peer": _rounded(peer),
        "ratio": _rounded(ours / peer),
    }
    print(json.dumps(figures | {"details": details | machine}))


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures as details."""
    return {name: _rounded(value) for name, value in figures.items()}


def pair(speeds: tuple[float, float]) -> dict[str, float]:
    """Return the two speeds of a race as a detail."""
    return {"ours": _rounded(speeds[0]), "peer": _rounded(speeds[1]), "ratio": _rounded(speeds[0] / speeds[1])}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
