"""Detecting loss spikes: how far a loss may lie above recent losses, measured in their own spread.

Takes a loss, returns a limit for the next one. The mean follows about the last ten steps. The spread comes from the
differences of successive losses (von Neumann et al. 1941), which a falling loss hardly widens. Only rises count.
"""

import math
from dataclasses import dataclass

LEVEL, SPREAD = 0.9, 0.99  # decay factors of the mean and of the spread: about 10 and 100 steps
SPREADS = 12.0  # a loss this many spreads above the mean is a spike; healthy runs stayed below 8, see LOG.md
FLOOR = 0.1  # nats added to every spread: a batch of hard text in a nearly finished run is no spike
_FIRST = 0.5  # nats added at the first loss, decreasing with their number: a few losses say little about the spread


@dataclass(frozen=True)
class LossStats:
    """Statistics of recent losses needed for the next limit; JSON-ready."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last: float = 0.0

    @property
    def limit(self) -> float:
        """The loss above which the next one is a spike; infinite before the first."""
        if not self.count:
            return math.inf
        return self.mean + SPREADS * (math.sqrt(self.variance) + FLOOR + _FIRST / self.count)

    def after(self, loss: float) -> "LossStats":
        """Return the statistics updated with one more loss."""
        if not self.count:
            return LossStats(1, loss, 0.0, loss)
        level = min(LEVEL, self.count / (self.count + 1))  # a plain mean at first
        spread = min(SPREAD, (self.count - 1) / self.count)
        square = (loss - self.last) ** 2 / 2
        return LossStats(
            self.count + 1,
            level * self.mean + (1 - level) * loss,
            spread * self.variance + (1 - spread) * square,
            loss,
        )
