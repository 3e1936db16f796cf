"""A race: ours and the peer take turns, so that a busy machine slows both, and the medians are compared.

Takes two functions that do the same work and return how much they did (tokens, documents); prints the rounds on
standard error and one JSON object as the last line of standard output:
`{"name", "unit", "ours", "peer", "ratio", "details"}`, where more is better and `ratio` is ours / peer.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], float]


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


def pair(speeds: tuple[float, float]) -> dict[str, float]:
    """Return the two speeds of a race as a detail."""
    return {"ours": _rounded(speeds[0]), "peer": _rounded(speeds[1]), "ratio": _rounded(speeds[0] / speeds[1])}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
