"""Whether a candidate meets a gate's rules, by what was measured about it and about the current model.

Takes the rules and the measurements; returns a finding for each requirement: passed, failed, or not enough data, with
what is missing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sayso.judge.gate.rules import (
    Behaviour,
    BitsPerByte,
    Cases,
    Divergence,
    Gate,
    Memory,
    Preference,
    Speed,
    Tasks,
)
from sayso.judge.statistics.estimate import Estimate, mean_of
from sayso.judge.statistics.significance import Comparison, holm
from sayso.judge.statistics.verdict import smallest_seen

State = Literal["passed", "failed", "not enough data"]
_SHOWN = 5  # cases that are named


@dataclass(frozen=True)
class Finding:
    """What one requirement found."""

    requirement: str
    state: State
    said: str


@dataclass(frozen=True)
class CaseAnswer:
    """How both models answered a case; None if that is unknown, as without its detector."""

    name: str
    current_bad: bool | None
    candidate_bad: bool | None


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


def judge_gate(gate: Gate, found: Measured, current: str) -> list[Finding]:
    """Return a finding for each requirement; `current` is the name of the current model."""
    findings = [_tasks(gate.tasks, found.tasks, current), *_bits(gate.bits_per_byte, found.bits, current)]
    findings += _preference(gate.preference, found.win_rate, current)
    findings += _cases(gate.cases, found.cases, current)
    findings += _behaviour(gate.behaviour, found.behaviour, current)
    findings += _divergence(gate.kl, found.divergence, current)
    findings += _speed(gate.speed, found.speeds, current)
    return findings + _memory(gate.memory, found.bytes_held, current)


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


def _cases(rule: Cases, found: Sequence[CaseAnswer], current: str) -> list[Finding]:
    """Return the finding about cases; none if there are no cases."""
    if not found:
        return []
    known = [one for one in found if one.current_bad is not None and one.candidate_bad is not None]
    worse = [one.name for one in known if one.candidate_bad and not one.current_bad]
    fixed = sum(not one.candidate_bad for one in known)
    before = sum(not one.current_bad for one in known)
    said = f"{fixed:,} of {len(known):,} cases are answered well, for {before:,} by {current}"
    if len(worse) > rule.worse:
        names = ", ".join(worse[:_SHOWN]) + (", ..." if len(worse) > _SHOWN else "")
        return [Finding("cases", "failed", f"{said}; worse: {names}.")]
    if len(known) < len(found):
        left = len(found) - len(known)
        return [
            Finding(
                "cases",
                "not enough data",
                f"{said}; {left:,} more could not be checked: their prompts do not fit, or their detectors must be "
                "given, functions of your own with --detector, a judge with --endpoint and --judge.",
            )
        ]
    if fixed < rule.fixed * len(known):
        return [Finding("cases", "failed", f"{said}, which is less than a share of {rule.fixed:g}.")]
    return [
        Finding("cases", "passed", f"{said}; none is worse." if not worse else f"{said}; {len(worse):,} are worse.")
    ]


def _behaviour(rule: Behaviour, found: Mapping[str, Comparison], current: str) -> list[Finding]:
    """Return the finding about behaviour, given the candidate minus the current model by what was measured."""
    known = {name: one for name, one in found.items() if not math.isnan(one.difference.low)}
    if not known:
        said = f"The candidate and {current} have no results in common; run sayso evaluate --suite behaviour on each."
        return [Finding("behaviour", "not enough data", said)] if rule.required else []
    adjusted = holm({name: one.p for name, one in known.items()})
    worse = [name for name, one in known.items() if one.difference.high < 0 and adjusted[name] < rule.alpha]
    if worse:
        losses = ", ".join(f"{name} by {-100 * known[name].difference.mean:.1f} points" for name in worse)
        return [Finding("behaviour", "failed", f"Worse than {current} on {losses} ({len(known)} measured, Holm).")]
    parts = "; ".join(
        f"{name} {100 * one.difference.mean:+.1f} points (a loss of {100 * smallest_seen(one.difference):.1f} would "
        "have been seen in 80 of 100 evaluations)"
        for name, one in known.items()
    )
    unclear = [name for name, one in known.items() if one.difference.low <= -rule.margin]
    if rule.required and unclear:
        said = f"{parts}. A loss of {100 * rule.margin:.1f} points is not excluded on {', '.join(unclear)}"
        return [Finding("behaviour", "not enough data", f"{said}: ask more items.")]
    return [Finding("behaviour", "passed", f"No worse than {current}: {parts}.")]


def _divergence(rule: Divergence, found: Estimate | None, current: str) -> list[Finding]:
    """Return the finding about the divergence; none without a limit."""
    if not rule.most:
        return []
    if found is None or math.isnan(found.low):
        said = "There are not two held-out conversations to measure the divergence on; prepare some with sayso prepare."
        return [Finding("kl", "not enough data", said)]
    interval = f"{found.low:.4f} to {found.high:.4f}, {found.n:,} conversations"
    said = f"{found.mean:.4f} nats per token from {current} ({interval})"
    if found.low > rule.most:
        return [Finding("kl", "failed", f"{said}, above {rule.most:g}.")]
    if found.high > rule.most:
        times = ((found.high - found.mean) / (rule.most - found.mean)) ** 2 if found.mean < rule.most else math.inf
        more = f"; about {times:.1f} times as many conversations would decide it" if times < math.inf else ""
        return [Finding("kl", "not enough data", f"{said}, which leaves {rule.most:g} open{more}.")]
    return [Finding("kl", "passed", f"{said}, at most {rule.most:g}.")]


def _speed(rule: Speed, found: tuple[float, float] | None, current: str) -> list[Finding]:
    """Return the finding about tokens per second of the current model and of the candidate; none without a limit."""
    if not rule.least or found is None:
        return []
    share = found[1] / found[0]
    said = f"{found[1]:,.0f} tokens/s for {found[0]:,.0f} of {current}, a share of {share:.2f}"
    state: State = "passed" if share >= rule.least else "failed"
    return [Finding("speed", state, f"{said}; at least {rule.least:g} is required.")]


def _memory(rule: Memory, found: tuple[float, float] | None, current: str) -> list[Finding]:
    """Return the finding about the bytes of the current model and of the candidate; none without a limit."""
    if not rule.most or found is None:
        return []
    share = found[1] / found[0]
    said = f"{found[1] / 1e6:,.1f} MB for {found[0] / 1e6:,.1f} MB of {current}, a share of {share:.2f}"
    state: State = "passed" if share <= rule.most else "failed"
    return [Finding("memory", state, f"{said}; at most {rule.most:g} is allowed.")]
