"""The state of a training run as text: takes the events of `run.jsonl`, returns a loss curve and the latest figures."""

from math import isfinite
from statistics import fmean
from typing import Any

from rich.text import Text

from sayso.base.log import STEP_FIELDS, duration

_Event = dict[str, Any]
WIDTH, HEIGHT = 64, 10  # of the curve, in characters; each is two dots wide and four high
_LATELY = 20  # recent steps that the latest figures are averaged over
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille character: its columns, from the top


def status(name: str, events: list[_Event]) -> Text:
    """Return a summary of a run's events (one or more) as text, with a curve if there are points to draw."""
    rounds = [event for event in events if event["event"] == "round"]
    lines = [f"{name}: {_where(events)}, " + ("ended" if events[-1]["event"] == "end" else "running or interrupted")]
    if steps := [event for event in events if event["event"] == "step" and event["loss"] is not None]:
        lines += _of_steps(steps, events)
    elif rounds:
        score = "score" if "score" in rounds[0] else "points"
        lines += [*chart([(event["step"], event[score]) for event in rounds]), _words(rounds[-1])]
    else:
        lines += [f"{_words(event)} at step {event['step']:,}" for event in events if event["event"] == "val"][-1:]
    lines += [f"sample: {event['sample']}" for event in events if "sample" in event][-1:]
    lines += [f"{event['problem']}: {event['then']}" for event in events if event["event"] == "diverged"][-3:]
    lines += [f"step {event['step']:,}: {event['problem']}" for event in events if event["event"] == "warning"][-3:]
    return Text("\n".join([*lines, *_time(events)]))


def _where(events: list[_Event]) -> str:
    """Return a run's progress in steps, or in rounds if it has no steps of its own."""
    at = {event["event"]: event for event in events}
    if "step" in at:
        return f"step {at['step']['step']:,} of {at['step']['steps']:,}"
    if "round" in at:
        whole = at.get("start", {}).get("config", {}).get("rounds")
        return f"round {at['round']['step']:,}" + (f" of {whole:,}" if whole else "")
    if "iteration" in at:
        return "iteration 1, before its first step"
    return "no steps" if events[-1]["event"] == "end" else "before its first step"


def _of_steps(steps: list[_Event], events: list[_Event]) -> list[str]:
    last, lately = steps[-1], steps[-_LATELY:]
    iterations = [event for event in events if event["event"] == "iteration"]
    lines = chart([(event["step"], event["loss"]) for event in steps])
    lines += [_mean(lately, "loss", f"loss {{:.4f}} over the last {len(lately)} steps")]
    lines += [f"{_words(event)} at step {event['step']:,}" for event in events if event["event"] == "val"][-1:]
    lines += [_figures([*lately, *iterations[-1:]])]
    speed = _mean(lately, "tokens_per_second", "{:,.0f} tokens per second")
    lines += [speed + _mean(lately, "mfu", ", {:.1%} of the machine's peak")]
    moved = _mean(lately, "update_ratio", ", update-to-weight ratio {:.2e}")
    lines += [f"learning rate x {last['lr']:g}, gradient norm {last['gradient_norm']:g}{moved}"]
    return [line for line in lines if line]


def _time(events: list[_Event]) -> list[str]:
    """Return the time since the run started or resumed, and the time left; empty if unknown."""
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

    Non-finite values of diverged steps are left out; returns an empty list if no point is left.
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


def _words(event: _Event) -> str:
    """Return the held-out figures of an event, with the names used in the log."""
    figures = {key: value for key, value in event.items() if key not in ("event", "step")}
    return ", ".join(f"{key} {value:g}" for key, value in figures.items() if isinstance(value, float))


def _figures(events: list[_Event]) -> str:
    """Return the means of the figures specific to the run's loss, with the names used in the log; empty if none."""
    names = {
        name: None
        for event in events
        for name in event
        if name not in {*STEP_FIELDS, "event"} and isinstance(event[name], float)
    }
    return ", ".join(_mean(events, name, f"{name} {{:.4g}}") for name in names)


def _mean(events: list[_Event], key: str, form: str) -> str:
    """Return the formatted mean of a figure over the events that have it; empty if none has it."""
    values = [event[key] for event in events if key in event and isfinite(event[key])]
    return form.format(fmean(values)) if values else ""
