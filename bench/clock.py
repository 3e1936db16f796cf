"""A schedule by the clock, for runs with a time limit instead of a number of steps."""

import math
import time
from dataclasses import dataclass, field

from sayso.train.loop import StepRecord
from sayso.train.schedule import Schedule


class TimeUp(Exception):  # noqa: N818 - a signal, not an error
    """The time limit is reached."""


@dataclass(frozen=True)
class Clock(Schedule):
    """Decay from the peak rate to `floor` times it over `seconds` from now: linear, or by a cosine."""

    seconds: float = 0.0
    floor: float = 0.0
    cosine: bool = False
    began: float = field(default_factory=time.perf_counter)

    def elapsed(self) -> float:
        """Return the elapsed share of the time."""
        return (time.perf_counter() - self.began) / self.seconds

    def factor(self, step: int) -> float:
        """Return the factor on the peak rate."""
        elapsed = min(1.0, self.elapsed())
        fall = (1 + math.cos(math.pi * elapsed)) / 2 if self.cosine else 1 - elapsed
        return min((step + 1) / self.warmup, self.floor + (1 - self.floor) * fall)

    def check(self, _: StepRecord) -> None:
        """Raise `TimeUp`, which ends the training loop, at the time limit."""
        if self.elapsed() >= 1:
            raise TimeUp
