"""A race: ours and the peer take turns, so that a busy machine slows both, and the medians are compared.

Takes two functions that do the same work and return how much they did (tokens, documents); prints the rounds on
standard error and one JSON object as the last line of standard output:
`{"name", "unit", "ours", "peer", "ratio", "details"}`, where more is better and `ratio` is ours / peer.

Every bench takes `--tiny`: the same code at sizes that end in seconds, in one process, which is what the tests run. Its
figures mean nothing. A bench says both of its sizes by `sized`.
"""

import argparse
import json
import math
import multiprocessing
import os
import pickle
import platform
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass
from itertools import starmap
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sayso.cli.allocator import TUNABLES, VARIABLE

Work = Callable[[], float]
Turn = Callable[[], None]
Worker = multiprocessing.process.BaseProcess | threading.Thread
T = TypeVar("T")
TINY = "--tiny" in sys.argv[1:]
"""Whether sizes are the small ones; processes that a bench starts get its arguments, and so know, too."""


def sized(full: T, tiny: T) -> T:
    """Return a size of the bench, or the one at which it only shows that it runs."""
    return tiny if TINY else full


def parser(name: str, description: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of a bench's arguments, which knows `--tiny`."""
    made = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--tiny", action="store_true", help="small sizes: does it run? The figures mean nothing")
    return made


def say(told: object) -> None:
    """Tell how far a bench is, on standard error."""
    print(told, file=sys.stderr, flush=True)


def keep_picture(path: Path, content: str) -> None:
    """Write a picture of the documentation; with `--tiny` it has been drawn, and is not kept."""
    if not TINY:
        path.write_text(content, encoding="utf-8")


def begun(work: Callable[..., None], given: tuple[Any, ...]) -> Worker:
    """Start a process that works, not a daemon, for it may have its own; with `--tiny` a thread of this one."""
    worker: Worker
    if TINY:
        worker = threading.Thread(target=work, args=given)
    else:
        worker = multiprocessing.get_context("spawn").Process(target=work, args=given)
    worker.start()
    return worker


def ended(worker: Worker) -> None:
    """Wait for a worker that has nothing left to do, or end its process."""
    if isinstance(worker, multiprocessing.process.BaseProcess):
        worker.terminate()
    worker.join()


def each(work: Callable[..., T], given: Iterable[tuple[Any, ...]], processes: int) -> list[T]:
    """Return what work gives for each of many arguments, some at a time, each in a fresh process; here if tiny."""
    if TINY:
        return list(starmap(work, given))
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        return pool.starmap(work, given, chunksize=1)


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
        say(f"{label} round {number + 1}: ours {speeds[0][-1]:,.1f}, peer {speeds[1][-1]:,.1f}")
    return statistics.median(speeds[0]), statistics.median(speeds[1])


def turns(sides: Mapping[str, Work], *, rounds: int = 5, label: str = "") -> dict[str, float]:
    """Return the median of the speeds that each side tells of itself, over rounds in turn after one of warm-up."""
    told: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in sides if number % 2 else reversed(sides):  # who goes first alternates
            told[name].append(sides[name]())
        shown = ", ".join(f"{name} {speeds[-1]:,.1f}" for name, speeds in told.items())
        say(f"{label} round {number}: {shown}")
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
                times[name].append(_answer(pipes[name], name))
            shown = ", ".join(f"{name} {steps / taken[-1]:,.2f}" for name, taken in times.items())
            say(f"round {number}: {shown}")
    return {name: steps / statistics.median(taken[1:]) for name, taken in times.items()}


@contextmanager
def _started(sides: Mapping[str, Side], steps: int) -> Iterator[dict[str, Connection]]:
    """Yield the pipe to each side's process; the processes end with it."""
    pipes: dict[str, Connection] = {}
    workers = []
    before = os.environ.get(VARIABLE)
    for name, side in sides.items():
        pipes[name], theirs = multiprocessing.Pipe()
        os.environ.pop(VARIABLE, None)
        if side.keeps_memory:
            os.environ[VARIABLE] = ":".join(f"{key}={value}" for key, value in TUNABLES.items())
        workers.append(begun(_side, (pickle.loads(pickle.dumps(side)), theirs, steps)))
    os.environ.pop(VARIABLE, None)
    if before is not None:
        os.environ[VARIABLE] = before
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for worker in workers:
            ended(worker)


def _answer(pipe: Connection, name: str) -> float:
    """Return the seconds that a side took; what went wrong there is raised here."""
    told = pipe.recv()
    if isinstance(told, str):
        raise RuntimeError(f"{name} failed:\n{told}")
    return float(told)


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

    with suppress(EOFError, OSError):  # the race is over
        pipe.recv()
        began = time.perf_counter()
        try:
            side.work(turn, *side.given)
        except (EOFError, OSError):
            raise
        except Exception:
            pipe.send(traceback.format_exc())


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
        "ratio": _rounded(ours / peer if peer else math.nan),
    }
    told = details | machine | ({"tiny": True} if TINY else {})
    print(json.dumps(_plain(figures | {"details": told}), allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """Return anything in a form that JSON has, NaN as null: hours of work must not end in an error."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str | int) else str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures as details."""
    return {name: _rounded(value) for name, value in figures.items()}


def pair(speeds: tuple[float, float]) -> dict[str, float]:
    """Return the two speeds of a race as a detail."""
    return {
        "ours": _rounded(speeds[0]),
        "peer": _rounded(speeds[1]),
        "ratio": _rounded(speeds[0] / speeds[1] if speeds[1] else math.nan),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
