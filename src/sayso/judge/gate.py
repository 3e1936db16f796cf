"""The gate: whether a candidate may replace the current model, by what was measured about both.

Takes comparisons item by item, bits per byte, a judge's win rate and more (`requirements.py`); returns a finding for
each requirement: passed, failed, or not enough data, with what is missing. Requirements are read from TOML; the
defaults are those of `Gate`.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.judge import requirements
from sayso.judge.requirements import Behaviour, CaseAnswer, Cases, Divergence, Finding, Memory, Speed, State
from sayso.judge.statistics.estimate import Estimate, mean_of
from sayso.judge.statistics.significance import Comparison, holm
from sayso.judge.statistics.verdict import smallest_seen

__all__ = ["Finding", "Gate", "Measured", "State", "judge_gate", "read_gate", "verdict_of"]


@dataclass(frozen=True)
class Tasks:
    """No task may be worse than with the current model."""

    alpha: float = 0.05
    """Probability of refusing an equal model, over all tasks together (Holm)."""
    margin: float = 0.05
    """The interval of the mean difference over all tasks must exclude a loss of this size."""


@dataclass(frozen=True)
class BitsPerByte:
    """The most that held-out text may cost more, in bits per byte."""

    real: float = 0.05
    smallworld: float = 0.05


@dataclass(frozen=True)
class Preference:
    """A judge's win rate of the candidate at equal length, from `sayso judge CURRENT CANDIDATE`."""

    above: float = 0.5
    """The whole interval must lie above this."""
    required: bool = False
    """Whether the gate needs it; otherwise, only an interval wholly below counts, against the candidate."""


@dataclass(frozen=True)
class Gate:
    """All requirements."""

    tasks: Tasks = field(default_factory=Tasks)
    bits_per_byte: BitsPerByte = field(default_factory=BitsPerByte)
    preference: Preference = field(default_factory=Preference)
    cases: Cases = field(default_factory=Cases)
    behaviour: Behaviour = field(default_factory=Behaviour)
    kl: Divergence = field(default_factory=Divergence)
    speed: Speed = field(default_factory=Speed)
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True)
class Measured:
    """What is known about a candidate beside the current model."""

    tasks: Mapping[str, Comparison]
    """Candidate minus current, by task."""
    bits: Mapping[str, tuple[float, float]]
    """Bits per byte of the current model and of the candidate, by kind of text, on the same text."""
    win_rate: Estimate | None
    """Of the candidate against the current model, at equal length; None if no judge compared them."""
    cases: Sequence[CaseAnswer] = ()
    """How both answered the cases of confirmed misbehaviour."""
    behaviour: Mapping[str, Comparison] = field(default_factory=dict)
    """Candidate minus current, by what was measured of their behaviour."""
    divergence: Estimate | None = None
    """Of the candidate from the current model, in nats per token; None if it was not measured."""
    speeds: tuple[float, float] | None = None
    """Tokens per second of the current model and of the candidate, in the same run."""
    bytes_held: tuple[float, float] | None = None
    """Memory of the current model and of the candidate."""


_TABLES: dict[str, Any] = {
    "tasks": Tasks,
    "bits_per_byte": BitsPerByte,
    "preference": Preference,
    "cases": Cases,
    "behaviour": Behaviour,
    "kl": Divergence,
    "speed": Speed,
    "memory": Memory,
}


def read_gate(path: Path) -> Gate:
    """Read requirements from a TOML file; what it leaves out has its default.

    Raises `UserError` for a file that is not TOML, an unknown requirement, and a value that is none.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"A gate must be readable TOML; '{path}' is not: {reason}.") from error
    made: dict[str, Any] = {}
    for name, values in data.items():
        if name not in _TABLES or not isinstance(values, dict):
            raise UserError(
                f"A gate has the tables {', '.join(_TABLES)}; got '{name}' in '{path}'.{nearest(name, _TABLES)}"
            )
        made[name] = _table(path, name, values)
    return Gate(**made)


def _table(path: Path, name: str, values: Mapping[str, Any]) -> Any:
    kind = _TABLES[name]
    known = {one.name: one.type for one in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise UserError(
                f"[{name}] of a gate has the requirements {', '.join(known)}; got '{key}' in '{path}'."
                f"{nearest(key, known)}"
            )
        if known[key] is bool:
            if not isinstance(value, bool):
                raise UserError(f"'{key}' of a gate must be true or false; got {value!r} in '{path}'.")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise UserError(f"'{key}' of a gate must be a number from 0; got {value!r} in '{path}'.")
        elif key in ("alpha", "margin", "above") and not 0 < value < 1:
            raise UserError(f"'{key}' of a gate must be a number between 0 and 1; got {value} in '{path}'.")
        elif key == "fixed" and value > 1:
            raise UserError(f"'fixed' of a gate must be a share from 0 to 1; got {value} in '{path}'.")
    return kind(**values)


def judge_gate(gate: Gate, found: Measured, current: str) -> list[Finding]:
    """Return a finding for each requirement; `current` is the name of the current model."""
    findings = [_tasks(gate.tasks, found.tasks, current), *_bits(gate.bits_per_byte, found.bits, current)]
    findings += _preference(gate.preference, found.win_rate, current)
    findings += requirements.cases(gate.cases, found.cases, current)
    findings += requirements.behaviour(gate.behaviour, found.behaviour, current)
    findings += requirements.divergence(gate.kl, found.divergence, current)
    findings += requirements.speed(gate.speed, found.speeds, current)
    return findings + requirements.memory(gate.memory, found.bytes_held, current)


def verdict_of(findings: list[Finding]) -> State:
    """Return the verdict of the whole gate: failed if anything failed, passed only if everything passed."""
    states = {one.state for one in findings}
    return "failed" if "failed" in states else "not enough data" if "not enough data" in states else "passed"


def _tasks(rule: Tasks, found: Mapping[str, Comparison], current: str) -> Finding:
    known = {name: one for name, one in found.items() if not math.isnan(one.difference.low)}
    if not known:
        return Finding(
            "tasks",
            "not enough data",
            f"The candidate and {current} have not answered the same items; run sayso evaluate on each, with the same "
            "options.",
        )
    adjusted = holm({name: one.p for name, one in known.items()})
    worse = [name for name, one in known.items() if one.difference.high < 0 and adjusted[name] < rule.alpha]
    if worse:
        losses = ", ".join(f"{name} by {-100 * known[name].difference.mean:.1f} points" for name in worse)
        return Finding("tasks", "failed", f"Worse than {current} on {losses} ({len(known)} tasks, Holm).")
    return _mean(rule, mean_of([one.difference for one in known.values()]), len(known), current)


def _mean(rule: Tasks, mean: Estimate, count: int, current: str) -> Finding:
    """Return what the mean difference over tasks rules out, none of which is worse by itself."""
    said = (
        f"No task of {count} is worse than with {current}; the mean differs by {100 * mean.mean:+.1f} points "
        f"({100 * mean.low:+.1f} to {100 * mean.high:+.1f}), and a loss of {100 * smallest_seen(mean):.1f} would have "
        "been seen in 80 of 100 evaluations"
    )
    if mean.high < 0:
        return Finding("tasks", "failed", f"{said}: over all tasks together it is worse.")
    if mean.low > -rule.margin:
        return Finding("tasks", "passed", f"{said}.")
    left = f"{said}, so that a loss of {100 * rule.margin:.1f} is not excluded"
    if mean.mean > -rule.margin:
        times = ((mean.mean - mean.low) / (mean.mean + rule.margin)) ** 2
        left += f"; about {times:.1f} times as many items would exclude it, if the mean stays as it is"
    return Finding("tasks", "not enough data", f"{left}.")


def _bits(rule: BitsPerByte, found: Mapping[str, tuple[float, float]], current: str) -> list[Finding]:
    findings = []
    for kind, (before, after) in found.items():
        limit = getattr(rule, kind)
        state: State = "passed" if after <= before + limit + 1e-9 else "failed"
        said = f"{after:.3f} for {before:.3f} of {current}; at most {limit:g} more is allowed."
        findings.append(Finding(f"bits per byte, {kind}", state, said))
    if not found:
        said = f"The candidate and {current} were not evaluated on the same text; run sayso evaluate on each."
        findings.append(Finding("bits per byte", "not enough data", said))
    return findings


def _preference(rule: Preference, rate: Estimate | None, current: str) -> list[Finding]:
    if rate is None or math.isnan(rate.low):
        said = f"No judge has compared the candidate with {current}; run sayso judge {current} CANDIDATE."
        return [Finding("preference", "not enough data", said)] if rule.required else []
    said = f"A win rate of {rate.mean:.2f} at equal length ({rate.low:.2f} to {rate.high:.2f}, {rate.n:,} prompts)"
    if rate.low > rule.above:
        return [Finding("preference", "passed", f"{said}, above {rule.above:g}.")]
    if rate.high < rule.above:
        return [Finding("preference", "failed", f"{said}, below {rule.above:g}.")]
    if not rule.required:
        return [Finding("preference", "passed", f"{said}: no preference against it.")]
    return [Finding("preference", "not enough data", f"{said}, which leaves {rule.above:g} open; judge more prompts.")]
