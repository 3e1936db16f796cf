"""A schedule by the clock: for runs that are given time, not steps."""

import math
import time
from dataclasses import dataclass, field

from sayso.train.loop import StepRecord
from sayso.train.schedule import Schedule


class Over(Exception):  # noqa: N818 - a signal, not an error
    """The time is over."""


@dataclass(frozen=True)
class Clock(Schedule):
    """A fall from the peak rate to `floor` of it over `seconds` from now: linear, or by a cosine."""

    seconds: float = 0.0
    floor: float = 0.0
    cosine: bool = False
    began: float = field(default_factory=time.perf_counter)

    def gone(self) -> float:
        """Return which share of the time is over."""
        return (time.perf_counter() - self.began) / self.seconds

    def factor(self, step: int) -> float:
        """Return the factor on the peak rate."""
        gone = min(1.0, self.gone())
        fall = (1 + math.cos(math.pi * gone)) / 2 if self.cosine else 1 - gone
        return min((step + 1) / self.warmup, self.floor + (1 - self.floor) * fall)

    def tell(self, _: StepRecord) -> None:
        """End a run of the loop when the time is over."""
        if self.gone() >= 1:
            raise Over
