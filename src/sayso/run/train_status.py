"""Act: how a training run stands: its loss drawn in the terminal and its latest figures, once or while it goes on.

Reads a run's `run.jsonl` and nothing else, so that it disturbs no run and tells of finished ones as well.
"""

import time
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.live import Live
from rich.text import Text

from sayso.base.errors import UserError, nearest
from sayso.base.life import Life
from sayso.base.log import OF_EVERY_STEP, duration, events_of
from sayso.base.output import console
from sayso.base.ranges import Options

Event = dict[str, Any]
WIDTH, HEIGHT = 64, 10  # of the curve, in characters; each is two dots wide and four high
LATELY = 20  # steps that the latest figures are a mean of
REFRESH = 2.0  # seconds
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille character: its columns, from the top


@dataclass(frozen=True)
class TrainStatus(Options):
    """Options of `sayso train-status`."""

    run: str | None = None
    """The run, such as pretrain-base; the training run that was written to last when not given."""
    _: KW_ONLY
    life: Path = Path("life")
    """The folder of the life."""
    follow: bool = False
    """Whether to go on showing it until it ends; Ctrl-C stops the showing, not the run."""


def train_status(options: TrainStatus) -> str:
    """Show how a training run stands."""
    life = Life(options.life)
    folder = _find(life, options.run)
    screen = console()
    if not options.follow:
        shown = status(folder.name, events_of(folder / "run.jsonl"))
        screen.print(shown)
        return shown.plain
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            events = events_of(folder / "run.jsonl")
            shown = status(folder.name, events)
            live.update(shown, refresh=True)
            if events[-1]["event"] == "end":
                return shown.plain
            time.sleep(REFRESH)


def status(name: str, events: list[Event]) -> Text:
    """Return what the events of a run come to, one or more, as text with a curve where there is something to draw."""
    rounds = [event for event in events if event["event"] == "round"]
    lines = [f"{name}: {_where(events)}, " + ("ended" if events[-1]["event"] == "end" else "under way or stopped")]
    if steps := [event for event in events if event["event"] == "step" and event["loss"] is not None]:
        lines += _of_steps(steps, events)
    elif rounds:
        score = "score" if "score" in rounds[0] else "points"
        lines += [*chart([(event["step"], event[score]) for event in rounds]), _words(rounds[-1])]
    else:
        lines += [f"{_words(event)} at step {event['step']:,}" for event in events if event["event"] == "val"][-1:]
    lines += [f"it says: {event['sample']}" for event in events if "sample" in event][-1:]
    lines += [f"{event['problem']}: {event['then']}" for event in events if event["event"] == "diverged"][-3:]
    lines += [f"step {event['step']:,}: {event['problem']}" for event in events if event["event"] == "warning"][-3:]
    return Text("\n".join([*lines, *_time(events)]))


def _where(events: list[Event]) -> str:
    """How far a run is, in steps, or in rounds where it has none of its own."""
    at = {event["event"]: event for event in events}
    if "step" in at:
        return f"step {at['step']['step']:,} of {at['step']['steps']:,}"
    if "round" in at:
        whole = at.get("start", {}).get("config", {}).get("rounds")
        return f"round {at['round']['step']:,}" + (f" of {whole:,}" if whole else "")
    if "iteration" in at:
        return "iteration 1, before its first step"
    return "no step of its own" if events[-1]["event"] == "end" else "before its first step"


def _of_steps(steps: list[Event], events: list[Event]) -> list[str]:
    last, lately = steps[-1], steps[-LATELY:]
    iterations = [event for event in events if event["event"] == "iteration"]
    lines = chart([(event["step"], event["loss"]) for event in steps])
    lines += [_mean(lately, "loss", f"loss {{:.4f}} over the last {len(lately)} steps")]
    lines += [f"{_words(event)} at step {event['step']:,}" for event in events if event["event"] == "val"][-1:]
    lines += [_figures([*lately, *iterations[-1:]])]
    speed = _mean(lately, "tokens_per_second", "{:,.0f} tokens a second")
    lines += [speed + _mean(lately, "mfu", ", {:.1%} of the machine's peak")]
    moved = _mean(lately, "update_ratio", ", an update moves the weights by {:.2e} of their norm")
    lines += [f"rates x {last['lr']:g}, gradient norm {last['gradient_norm']:g}{moved}"]
    return [line for line in lines if line]


def _time(events: list[Event]) -> list[str]:
    """How long the run has taken since it began or was resumed, and what is left of it; nothing where it is unknown."""
    began = max((number for number, event in enumerate(events) if event["event"] == "start"), default=0)
    own = [event for event in events[began:] if "seconds" in event]
    if not own:
        return []
    steps = [event for event in own if event["event"] == "step"]
    if not steps or events[-1]["event"] == "end":
        return [duration(own[-1]["seconds"])]
    took, last = steps[-1]["seconds"], steps[-1]
    return [f"{duration(took)}, {duration(took / len(steps) * (last['steps'] - last['step']))} left"]


def chart(points: list[tuple[int, float]]) -> list[str]:
    """Draw (x, y) with y falling or rising over x, as lines of braille dots with the range of y at the left.

    What is not finite, of a step that diverged, is left out; nothing is drawn where no point is left.
    """
    points = [(x, y) for x, y in points if isfinite(y)]
    if not points:
        return []
    first, end = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    cells = [[0] * WIDTH for _ in range(HEIGHT)]
    for x, y in points:
        column = round((x - first) / max(1, end - first) * (2 * WIDTH - 1))
        row = round((high - y) / ((high - low) or 1) * (4 * HEIGHT - 1))
        cells[row // 4][column // 2] |= DOTS[column % 2][row % 4]
    labels = [f"{high:.3f}", *[""] * (HEIGHT - 2), f"{low:.3f}"]
    rows = ("".join(chr(0x2800 + dots) for dots in row) for row in cells)
    return [f"{label:>8} │{row}" for label, row in zip(labels, rows, strict=True)]


def _find(life: Life, name: str | None) -> Path:
    """Return the folder of a run; none at all, or not this one, is a `UserError`.

    Without a name it is the run of an act that trains, each of which has a plan, that was written to last.
    """
    runs = {log.parent.name: log for log in life.root.glob("runs/*/run.jsonl")}
    trained = [log for log in runs.values() if (log.parent / "plan.json").exists()]
    if not runs or (name is None and not trained):
        raise UserError(f"There is no training run in '{life.root}' yet; begin one with: sayso pretrain")
    if name is None:
        return max(trained, key=lambda log: log.stat().st_mtime).parent
    if name not in runs:
        told = ", ".join(sorted(runs))
        raise UserError(f"A run of '{life.root}' is one of {told}; got '{name}'.{nearest(name, runs)}")
    return runs[name].parent


def _words(event: Event) -> str:
    """The held-out figures of an event, in its own names."""
    figures = {key: value for key, value in event.items() if key not in ("event", "step")}
    return ", ".join(f"{key} {value:g}" for key, value in figures.items() if isinstance(value, float))


def _figures(events: list[Event]) -> str:
    """The means of what the run's own loss tells, in the log's names; nothing where it tells nothing."""
    names = {
        name: None
        for event in events
        for name in event
        if name not in {*OF_EVERY_STEP, "event"} and isinstance(event[name], float)
    }
    return ", ".join(_mean(events, name, f"{name} {{:.4g}}") for name in names)


def _mean(events: list[Event], key: str, form: str) -> str:
    """The mean of a figure over the events that have it, in this form; nothing where none has it."""
    values = [event[key] for event in events if key in event and isfinite(event[key])]
    return form.format(fmean(values)) if values else ""
