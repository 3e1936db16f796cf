"""All scores of a life's models, by measure: what a leaderboard shows, and what the report's section on it draws.

Takes the records of `sayso evaluate`; returns the measures in order, each with the estimate of every model that has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from sayso.base.files import read_object
from sayso.base.life import Life
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.signal import all_at_chance
from sayso.report.draw import whiskers
from sayso.report.facts import Facts
from sayso.report.markup import section, table
from sayso.weights.models import models

_Data = dict[str, Any]
_PREFIX = "evaluate-"


@dataclass(frozen=True)
class Measure:
    """One thing that is measured, and what each model reached."""

    name: str
    group: str
    """Suite of the task, or what else it belongs to."""
    lower_is_better: bool
    unit: bool
    """Whether scores are from 0 to 1."""
    scores: dict[str, Estimate] = field(default_factory=dict)
    """Estimate of each model that was measured, by name."""
    baseline: float | None = None
    """Score of a guess, if known."""
    bits: dict[str, Estimate] = field(default_factory=dict)
    """Bits per byte of the right answer of each model, by name, if measured."""

    def at_chance(self, names: Sequence[str]) -> bool:
        """Whether none of some models is above the score of a guess."""
        scores = {name: self.scores[name] for name in names}
        return self.baseline is not None and all_at_chance(scores, self.baseline)

    def best(self) -> str | None:
        """Return the name of the best model, None if there is nothing to choose from."""
        if len(self.scores) < 2:
            return None
        pick = min if self.lower_is_better else max
        return pick(self.scores, key=lambda name: self.scores[name].mean)


@dataclass(frozen=True)
class Board:
    """The models of a life in the order of its lineage, and all measures."""

    models: tuple[str, ...]
    measures: tuple[Measure, ...]


def read_board(life: Life) -> Board:
    """Return all scores of a life. Raises `UserError` that names the file if a record is damaged."""
    folders = {path.name.removeprefix(_PREFIX): path for path in sorted(life.root.glob(f"runs/{_PREFIX}*"))}
    order = [name for name in models(life) if name in folders]
    order += [name for name in folders if name not in order]
    found: dict[tuple[str, str], Measure] = {}
    for name in order:
        for measure, value, bits in _measured(folders[name]):
            known = found.setdefault((measure.group, measure.name), measure)
            known.scores[name] = value
            if bits is not None:
                known.bits[name] = bits
    scored = {name for measure in found.values() for name in measure.scores}
    return Board(tuple(name for name in order if name in scored), tuple(found.values()))


def _measured(folder: Path) -> Iterator[tuple[Measure, Estimate, Estimate | None]]:
    """Yield what one model was measured by, what it reached, and the bits per byte of the right answers, if any."""
    if (folder / "scores.json").exists():
        yield from ((*own, None) for own in _own(read_object(folder / "scores.json", "bpb")))
    for path in sorted(folder.glob("*.json")):
        if path.name != "scores.json":
            yield from _suite(read_object(path, "tasks"))


def _own(scores: _Data) -> Iterator[tuple[Measure, Estimate]]:
    for kind, part in scores["bpb"].items():
        yield Measure(f"bits per byte, {kind}", "text", True, False), Estimate.from_dict(part)
    if scores["families"]:
        for key, name in (("smallworld_accuracy", "story questions"), ("instructions", "instructions")):
            yield Measure(name, "small world", False, True), Estimate.from_dict(scores[key])
    if right := scores.get("next_sentence"):
        yield Measure("next sentence", "text", False, True, baseline=0.25), Estimate.from_dict(right)
    if talks := scores.get("conversations"):
        yield Measure("nats a token", "held-out conversations", True, False), Estimate.from_dict(talks["loss"])
        if talks["exact"]["n"]:
            yield Measure("the same reply", "held-out conversations", False, True), Estimate.from_dict(talks["exact"])


def _suite(scores: _Data) -> Iterator[tuple[Measure, Estimate, Estimate | None]]:
    name = Path(scores["suite"]).stem
    for task, part in scores["tasks"].items():
        bits = part["scores"].get("bits_per_byte")
        measure = Measure(task, name, False, True, baseline=part.get("baseline"))
        main = Estimate.from_dict(part["scores"][part["metric"]])
        yield measure, main, Estimate.from_dict(bits) if bits else None
    if "core" in scores:
        yield Measure("CORE", name, False, False), Estimate.from_dict(scores["core"]), None


def leaderboard(facts: Facts) -> str:
    """Return the report's section: a row for each measure, a column for each model; empty with fewer than two."""
    board = read_board(facts.life)
    if len(board.models) < 2:
        return ""
    intro = (
        "<p>Every score of the life's models, in the order in which they were made; whiskers and small numbers are "
        "95&nbsp;% intervals, and the best score of a row is bold. <code>sayso compare</code> tells which differences "
        "are more than noise.</p>"
    )
    heads = ("measure", "0 to 1", *(f">{name}" for name in board.models))
    return section(
        "leaderboard", "All scores", intro, table(heads, [_row(board, one) for one in board.measures], "drawn")
    )


def _row(board: Board, measure: Measure) -> list[str]:
    marks = [(one.mean, one.low, one.high, name) for name, one in measure.scores.items() if one.low == one.low]
    drawn = whiskers(marks) if measure.unit and marks else ""
    arrow = " ↓" if measure.lower_is_better else ""
    label = f"{escape(measure.name)}{arrow}<br><small>{escape(measure.group)}</small>"
    best = measure.best()
    return [label, drawn, *(_cell(measure, name, best) for name in board.models)]


def _cell(measure: Measure, name: str, best: str | None) -> str:
    one = measure.scores.get(name)
    if one is None:
        return ""
    value = f"{one.mean:.3f}"
    interval = "" if one.low != one.low else f"<br><small>{one.low:.3f}–{one.high:.3f}</small>"
    return (f"<b>{value}</b>" if name == best else value) + interval
