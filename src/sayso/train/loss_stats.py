"""Detection of loss spikes: how far a loss may be above recent losses, relative to their spread.

Takes a loss and returns a limit for the next one. The mean covers about the last ten steps. The spread is estimated
from differences of successive losses (von Neumann et al. 1941), which hardly grow while the loss falls. A loss below
the mean is never a spike.
"""

import math
from dataclasses import dataclass

LEVEL, SPREAD = 0.9, 0.99  # decay factors of the mean and of the spread: about 10 and 100 steps
SPREADS = 12.0  # a loss this many spreads above the mean is a spike; healthy runs stayed below 8, see LOG.md
FLOOR = 0.1  # nats added to every spread: a batch of hard text late in a run is not a spike
_FIRST = 0.5  # nats added after the first loss, divided by the number of losses: a few determine the spread poorly


@dataclass(frozen=True)
class LossStats:
    """Statistics of recent losses, JSON-ready."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last: float = 0.0

    @property
    def limit(self) -> float:
        """Largest next loss that is not a spike; infinite before the first loss."""
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
