"""Predicts the seconds of recorded operations on a measured machine, and which bound holds for each.

product    max(2mkn / rate of the nearest measured shapes, bytes / bandwidth)
attention  operations / rate at this length
others     seconds of the kind of operation at this number of bytes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sayso.law.roofline.machine import Machine
from sayso.law.roofline.operations import Operation

Bound = Literal["compute", "memory", "launch"]
_LAUNCH = 3.0  # times the least cost of an operation, below which its beginning is what it costs


@dataclass(frozen=True)
class Priced:
    """The seconds of a piece of work."""

    seconds: float
    by_bound: Mapping[str, float]
    """Seconds that are bound by compute, by memory, and by beginning operations."""

    @property
    def bound(self) -> str:
        """The bound of most of the time."""
        return max(self.by_bound, key=lambda name: self.by_bound[name])


def priced(operations: Sequence[Operation], machine: Machine, begin: float = 0.0) -> Priced:
    """Return the seconds of operations, one after the other, each with `begin` seconds before it."""
    parts: dict[str, float] = dict.fromkeys(("compute", "memory", "launch"), 0.0)
    for one in operations:
        seconds, bound = price(one, machine)
        parts[bound] += seconds
        parts["launch"] += begin
    return Priced(sum(parts.values()), parts)


def price(one: Operation, machine: Machine) -> tuple[float, Bound]:
    """Return the seconds of an operation, and what bounds it."""
    if one.kind == "product":
        who = "oneDNN" if one.name == "_linear_pointwise" else "torch"
        compute = one.flops / machine.multiplying(who, *one.shape) if one.flops else 0.0
        memory = one.bytes / machine.bandwidth(max(one.bytes, 1 << 10))
        if max(compute, memory) < machine.launch:
            return machine.launch, "launch"
        return (compute, "compute") if compute >= memory else (memory, "memory")
    if one.kind in ("attention", "attention backward"):
        return one.flops / machine.attending(one.kind, one.shape[2]), "compute"
    seconds = machine.moving(one.kind, max(one.bytes, 1))
    return seconds, "launch" if seconds < _LAUNCH * machine.launch else "memory"
