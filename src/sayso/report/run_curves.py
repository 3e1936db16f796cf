"""The curves of a run, read on as its `run.jsonl` grows: every figure by step, thinned to what a screen can show.

A step that was repeated after a resume or a rewind counts once. Learning rates are the schedule's factor times each
group's peak.
"""

import os
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar

import numpy as np

from sayso.base.errors import UserError
from sayso.base.jsonl import parse
from sayso.base.life import Life
from sayso.base.seal import unseal
from sayso.report.draw import smooth as averaged

_T = TypeVar("_T")
Across = Literal["step", "tokens", "seconds"]
Point = list[float]
"""[x, y], or [x, y, low, high] with the range of what a smoothed or thinned value stands for."""
MOST_POINTS = 1000  # of a curve, about the pixels of a wide screen
MOST_SAMPLES = 50  # steps whose samples are kept
MOST_OPEN = 24  # runs whose curves are held in memory
RATE = "learning_rate"
_PLACES = ("event", "step", "steps", "tokens", "seconds", "iteration")
_MEASURED = ("step", "val", "round", "iteration")
_TOLD = ("warning", "diverged", "broken_checkpoint", "rewind", "resume")


@dataclass
class Series:
    """One figure of a run: its values by step."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """Add a value."""
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Drop the values after a step."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()


@dataclass
class RunRecord:
    """What the log of a run says so far."""

    act: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)
    """The machine: device, precision, processes, peak rates."""
    end: dict[str, Any] | None = None
    figures: dict[str, Series] = field(default_factory=dict)
    held_out: set[str] = field(default_factory=set)
    """Names of the figures of evaluations."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    """Warnings, divergences, rewinds and resumes, in order."""
    base: float = 0.0
    """Seconds of the parts of the run before its last start."""

    def take(self, event: dict[str, Any]) -> None:
        """Add an event of the log."""
        kind = event["event"]
        if kind == "start":
            seconds = self.figures.get("seconds")
            self.base = seconds.values[-1] if seconds and seconds.values else 0.0
            self.act, self.config = str(event.get("act")), event.get("config", {})
        elif kind == "speed":
            self.speed = {key: value for key, value in event.items() if key != "event"}
        elif kind == "end":
            self.end = event
        if kind in ("resume", "rewind"):
            for series in self.figures.values():
                series.cut(event["step"])
        if kind in _TOLD:
            self.notes.append(event)
        if kind in _MEASURED:
            self._measure(event)
        if "sample" in event or kind == "samples":
            self.samples = [*self.samples, _sample(event)][-MOST_SAMPLES:]

    def _measure(self, event: dict[str, Any]) -> None:
        step = event["step"]
        if event["event"] == "step":
            self._add("seconds", step, self.base + event["seconds"])
            self._add("tokens", step, event["tokens"])
        for name, value in event.items():
            if name not in _PLACES and isinstance(value, int | float) and not isinstance(value, bool):
                self._add(name, step, value)
                if event["event"] == "val":
                    self.held_out.add(name)

    def _add(self, name: str, step: int, value: float) -> None:
        if isfinite(value):
            series = self.figures.setdefault(name, Series())
            series.cut(step - 1)
            series.add(step, value)

    def names(self) -> list[str]:
        """Return the names of the curves."""
        own = [name for name in self.figures if name not in ("tokens", "seconds")]
        return own + [f"{RATE} {group}" for group in self.speed.get("peak_rates", {}) if "lr" in self.figures]

    def curve(self, name: str, across: Across = "step", smooth: float = 0.0) -> list[Point]:
        """Return a curve, empty if the run has none of this name.

        `smooth`: share of the run that the moving average spans, 0 for the values themselves.
        """
        factor = self.speed.get("peak_rates", {}).get(name.removeprefix(f"{RATE} ")) if name.startswith(RATE) else None
        series = self.figures.get(name if factor is None else "lr")
        if series is None or not series.steps:
            return []
        steps, values = np.array(series.steps, float), np.array(series.values) * (1.0 if factor is None else factor)
        is_flat = factor is not None or name == "lr" or name in self.held_out
        return thinned(self._across(steps, across), values, 0.0 if is_flat else smooth)

    def _across(self, steps: Any, across: Across) -> Any:
        """Return the x of each step."""
        other = self.figures.get(across)
        if across == "step" or other is None:
            return steps
        return np.interp(steps, [0, *other.steps], [0.0, *other.values])


def thinned(x: Any, y: Any, smooth: float) -> list[Point]:
    """Return at most `MOST_POINTS` points of a curve: its extremes, or, smoothed, the average with their range."""
    span = max(1, round(smooth * len(y)))
    if span == 1:
        return _points(x, y) if len(y) <= MOST_POINTS else _extremes(x, y)
    mean = np.array(averaged(y.tolist(), span))
    starts = np.unique(np.linspace(0, len(y), min(len(y), MOST_POINTS), endpoint=False).astype(int))
    ends = np.append(starts[1:], len(y)) - 1
    low = np.minimum(np.minimum.reduceat(y, starts), mean[ends])
    high = np.maximum(np.maximum.reduceat(y, starts), mean[ends])
    return _points(x[ends], mean[ends], low, high)


def _extremes(x: Any, y: Any) -> list[Point]:
    """Return the lowest and the highest point of each of some equal parts, and the ends."""
    parts = np.array_split(np.arange(len(y)), MOST_POINTS // 2)
    kept = {0, len(y) - 1} | {int(part[pick(y[part])]) for part in parts for pick in (np.argmin, np.argmax)}
    places = np.array(sorted(kept))
    return _points(x[places], y[places])


def _points(*columns: Any) -> list[Point]:
    return [[float(f"{value:.6g}") for value in row] for row in zip(*(one.tolist() for one in columns), strict=True)]


def _sample(event: dict[str, Any]) -> dict[str, Any]:
    rows = event["rows"] if event["event"] == "samples" else [{"prompt": None, "reply": event["sample"]}]
    return {"step": event.get("step"), "rows": rows}


class RunCurves:
    """The records of a life's runs, each read on from where the last look ended. Safe for several threads."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._open: OrderedDict[str, _Reader] = OrderedDict()
        self._lock = Lock()

    def look(self, name: str, see: Callable[[RunRecord], _T]) -> _T:
        """Return what a function sees in the record of a run, which no other thread changes meanwhile.

        Raises `UserError` for an invalid name and a damaged log, and `FileNotFoundError` if there is no such run.
        """
        path = self.life.run(name) / "run.jsonl"
        with self._lock:
            reader = self._open.pop(name, None) or _Reader(path)
            reader.read()
            self._open[name] = reader
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
            return see(reader.record)


class _Reader:
    """Reads a log line by line, going on where it ended."""

    def __init__(self, path: Path) -> None:
        self.path, self.inode = path, 0
        self._restart()

    def _restart(self) -> None:
        self.record, self.offset, self.line = RunRecord(), 0, 0

    def read(self) -> None:
        """Add the new lines to the record; a line that is still being written waits."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size < self.offset or found.st_ino != self.inode:
                self._restart()
                self.inode = found.st_ino
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._take(line)
                self.offset += len(line)

    def _take(self, line: bytes) -> None:
        self.line += 1
        try:
            event = unseal(parse(line.rstrip(b"\n")))
            if event["event"] == "start" and self.record.end is not None:
                self.record = RunRecord()  # a start after an end is a new run
            self.record.take(event)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            number = self.line
            self._restart()
            raise UserError(
                f"Line {number} of the log of '{self.path.parent.name}' is damaged ({error}); restore the file."
            ) from error
