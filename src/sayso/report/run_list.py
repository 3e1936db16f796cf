"""Every run of a life in short: what it does, how far it is, and whether a process works on it.

Reads only the beginning and the end of each `run.jsonl`, and again only when the file has changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import Any, Literal

from sayso.base.jsonl import parse
from sayso.base.life import Life
from sayso.base.lock import holder_of
from sayso.base.seal import unseal

RunState = Literal["running", "finished", "interrupted", "damaged"]
_Event = dict[str, Any]
HEAD, TAIL = 2**16, 2**18  # bytes read at the beginning and at the end of a log
LATELY = 20  # recent steps that the figures are averaged over


@dataclass(frozen=True)
class RunSummary:
    """A run in short; what is unknown is None."""

    name: str
    act: str
    state: RunState
    began: str | None
    """Time of its first start, ISO 8601."""
    changed: str
    """Time of the last line of its log."""
    trains: bool = False
    """Whether it trains a model, and can be resumed."""
    unit: str = "step"
    """What is counted: step or round."""
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    """Mean over the last steps."""
    tokens_per_second: float | None = None
    left: float | None = None
    """Seconds left at the recent rate."""
    memory_mb: float | None = None
    problem: str | None = None
    """What is wrong with its log."""


class RunList:
    """The runs of a life. Safe for several threads."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._known: dict[Path, tuple[tuple[int, int], RunSummary]] = {}
        self._lock = Lock()

    def every(self) -> list[RunSummary]:
        """Return all runs, those that were changed last first."""
        found = []
        with self._lock:
            for log in self._logs():
                summary = self._summary(log)
                found += [summary] if summary is not None else []
        return sorted(found, key=lambda one: one.changed, reverse=True)

    def marks(self) -> int:
        """Return a number that changes whenever a run does, or a process begins or ends to work on one."""
        seen = []
        for log in self._logs():
            held = log.parent.with_name(f".{log.parent.name}.lock").exists() and holder_of(log.parent) is not None
            seen.append((log.parent.name, *(_stamp(log) or ()), held))
        return hash(tuple(seen))

    def _logs(self) -> list[Path]:
        return sorted((self.life.root / "runs").glob("[!.]*/run.jsonl"))

    def _summary(self, log: Path) -> RunSummary | None:
        """Return the summary of a log; None if it is gone."""
        stamp = _stamp(log)
        if stamp is None:
            return None
        known = self._known.get(log)
        if known is None or known[0] != stamp:
            known = self._known[log] = (stamp, _read(log))
        summary = known[1]
        running = summary.state == "interrupted" and holder_of(log.parent) is not None
        return replace(summary, state="running") if running else summary


def _stamp(log: Path) -> tuple[int, int] | None:
    try:
        found = log.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _read(log: Path) -> RunSummary:
    """Return what a log says; a run without an end is interrupted unless a process works on it."""
    name, trains = log.parent.name, (log.parent / "plan.json").exists()
    try:
        changed = datetime.fromtimestamp(log.stat().st_mtime, UTC).isoformat(timespec="seconds")
        with log.open("rb") as file:
            head = file.read(HEAD)
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            tail = file.read()
        first = next(_events(head.split(b"\n")[:1]), None)
        events = list(_events(tail.split(b"\n")[size > TAIL : -1]))
    except (OSError, ValueError, RecursionError) as error:
        return RunSummary(name, name.partition("-")[0], "damaged", None, "", trains, problem=f"Its log: {error}.")
    if first is None or first["event"] != "start" or not events:
        return RunSummary(
            name, name.partition("-")[0], "damaged", None, changed, trains, problem="Its log has no start."
        )
    state: RunState = "finished" if events[-1]["event"] == "end" else "interrupted"
    summary = RunSummary(name, str(first.get("act")), state, first.get("time"), changed, trains)
    return _with_progress(summary, events)


def _events(lines: list[bytes]) -> Iterator[_Event]:
    for line in lines:
        event = unseal(parse(line))
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise ValueError("a line is not an event")
        yield event


def _with_progress(summary: RunSummary, events: list[_Event]) -> RunSummary:
    """Return a summary with how far the run is, by its last events."""
    steps = [event for event in events if event["event"] == "step"]
    rounds = [event for event in events if event["event"] == "round"]
    ends = [event["peak_memory_mb"] for event in events if event["event"] == "end" and "peak_memory_mb" in event]
    memory = [event["memory_mb"] for event in steps if "memory_mb" in event] + ends
    summary = replace(summary, memory_mb=memory[-1] if memory else None)
    if not steps:
        return replace(summary, unit="round", step=rounds[-1]["step"]) if rounds else summary
    last, lately = steps[-1], steps[-LATELY:]
    return replace(
        summary,
        step=last["step"],
        steps=last["steps"],
        loss=_mean(lately, "loss"),
        tokens_per_second=_mean(lately, "tokens_per_second"),
        left=_left(lately) if summary.state != "finished" else None,
    )


def _mean(events: list[_Event], key: str) -> float | None:
    values = [event[key] for event in events if isinstance(event.get(key), int | float) and isfinite(event[key])]
    return fmean(values) if values else None


def _left(steps: list[_Event]) -> float | None:
    """Return the seconds left at the rate of some steps; None if they are of several starts."""
    first, last = steps[0], steps[-1]
    count, took = last["step"] - first["step"], last["seconds"] - first["seconds"]
    return took / count * (last["steps"] - last["step"]) if count > 0 and took > 0 else None
