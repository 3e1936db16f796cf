"""Race Sayso against a peer: both take turns, so that a busy machine slows both, and the medians are compared.

Takes two functions that do the same work and return its amount (tokens, documents); prints the rounds on standard error
and one JSON object as the last line of standard output:
`{"name", "unit", "ours", "peer", "ratio", "details"}`, where more is better and `ratio` is ours / peer.

Every bench accepts `--tiny`: the same code at sizes that take seconds, in one process, as the tests run it. The figures
are then meaningless. `sized` chooses between the two sizes.
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
"""Whether to use the small sizes; processes that a bench starts get the same arguments."""


def sized(full: T, tiny: T) -> T:
    """Return the full size, or the tiny one with `--tiny`."""
    return tiny if TINY else full


def parser(name: str, description: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of a bench's arguments, with `--tiny`."""
    arguments = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--tiny", action="store_true", help="use tiny sizes to test the code; figures are meaningless"
    )
    return arguments


def say(message: object) -> None:
    """Print progress on standard error."""
    print(message, file=sys.stderr, flush=True)


def save_picture(path: Path, content: str) -> None:
    """Write a picture for the documentation, except with `--tiny`."""
    if not TINY:
        path.write_text(content, encoding="utf-8")


def start_worker(work: Callable[..., None], arguments: tuple[Any, ...]) -> Worker:
    """Start a process that may start others (so not a daemon); with `--tiny`, a thread."""
    worker: Worker
    if TINY:
        worker = threading.Thread(target=work, args=arguments)
    else:
        worker = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    worker.start()
    return worker


def stop_worker(worker: Worker) -> None:
    """Terminate a worker's process, or wait for its thread."""
    if isinstance(worker, multiprocessing.process.BaseProcess):
        worker.terminate()
    worker.join()


def run_each(work: Callable[..., T], jobs: Iterable[tuple[Any, ...]], processes: int) -> list[T]:
    """Return the results of all jobs, `processes` at a time, each in a fresh process; with `--tiny`, in this one."""
    if TINY:
        return list(starmap(work, jobs))
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        return pool.starmap(work, jobs, chunksize=1)


def speed(work: Work) -> float:
    """Return the amount of work per second of one call."""
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


def race(ours: Work, peer: Work, *, rounds: int = 5, label: str = "") -> tuple[float, float]:
    """Return the median speeds of ours and the peer over alternating rounds, after one warm-up call each."""
    ours()
    peer()
    speeds: tuple[list[float], list[float]] = [], []
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):  # the order alternates too
            speeds[side].append(speed((ours, peer)[side]))
        say(f"{label} round {number + 1}: ours {speeds[0][-1]:,.1f}, peer {speeds[1][-1]:,.1f}")
    return statistics.median(speeds[0]), statistics.median(speeds[1])


def turns(sides: Mapping[str, Work], *, rounds: int = 5, label: str = "") -> dict[str, float]:
    """Return the median of the speeds that each side reports, over alternating rounds after one warm-up round."""
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in sides if number % 2 else reversed(sides):  # the order alternates
            speeds[name].append(sides[name]())
        shown = ", ".join(f"{name} {values[-1]:,.1f}" for name, values in speeds.items())
        say(f"{label} round {number}: {shown}")
    return {name: statistics.median(values[1:]) for name, values in speeds.items()}


@dataclass(frozen=True)
class Side:
    """One side of a race between processes."""

    work: Callable[..., None]
    """A module-level function, called with a `Turn` and `arguments`; it calls the turn after each step, forever."""
    arguments: tuple[Any, ...]
    keeps_memory: bool
    """Whether its process starts with the memory settings of a training command of Sayso."""


def race_processes(sides: Mapping[str, Side], *, steps: int, rounds: int = 5) -> dict[str, float]:
    """Return each side's median steps per second over alternating turns of `steps`, each in its own process.

    The memory settings of a process are fixed when it starts, so a race may need processes. The first turn of each
    side is a warm-up.
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
    """Yield the pipe to each side's process; terminate the processes at the end."""
    pipes: dict[str, Connection] = {}
    workers = []
    before = os.environ.get(VARIABLE)
    for name, side in sides.items():
        pipes[name], theirs = multiprocessing.Pipe()
        os.environ.pop(VARIABLE, None)
        if side.keeps_memory:
            os.environ[VARIABLE] = ":".join(f"{key}={value}" for key, value in TUNABLES.items())
        workers.append(start_worker(_side, (pickle.loads(pickle.dumps(side)), theirs, steps)))
    os.environ.pop(VARIABLE, None)
    if before is not None:
        os.environ[VARIABLE] = before
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for worker in workers:
            stop_worker(worker)


def _answer(pipe: Connection, name: str) -> float:
    """Return the seconds that a side took. Raises `RuntimeError` with its traceback if it failed."""
    answer = pipe.recv()
    if isinstance(answer, str):
        raise RuntimeError(f"{name} failed:\n{answer}")
    return float(answer)


def _side(side: Side, pipe: Connection, steps: int) -> None:
    """Run a side's turns, one per message."""
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
            side.work(turn, *side.arguments)
        except (EOFError, OSError):
            raise
        except Exception:
            pipe.send(traceback.format_exc())


def result(name: str, unit: str, ours: float, peer: float, **details: Any) -> None:
    """Print the last line: the figures as one JSON object, with facts about the machine."""
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),  # if it exceeds the cores, only the ratio is meaningful
        "python": platform.python_version(),
    }
    figures = {
        "name": name,
        "unit": unit,
        "ours": _rounded(ours),
        "peer": _rounded(peer),
        "ratio": _rounded(ours / peer if peer else math.nan),
    }
    details = details | machine | ({"tiny": True} if TINY else {})
    print(json.dumps(_plain(figures | {"details": details}), allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """Return any value as JSON-ready data, NaN as None, so that hours of work do not end in an error."""
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
    """Return figures rounded to four digits."""
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
