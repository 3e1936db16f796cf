"""When a loss jumps: how far it may lie above the losses of late, measured in their own spread.

A loss enters, a limit for the next one leaves. The mean follows the last ten steps or so. The spread comes from the
differences of successive losses (von Neumann et al. 1941), which a fall of the loss hardly widens. Only upward counts.
"""

import math
from dataclasses import dataclass

LEVEL, SPREAD = 0.9, 0.99  # memories of the mean and of the spread: about 10 and 100 steps
SPREADS = 12.0  # a loss so many spreads above the mean is a jump; healthy runs stayed below 8, see LOG.md
FLOOR = 0.1  # nats added to every spread: a batch of hard text in a run that is all but done is no jump
FIRST = 0.5  # nats added at the first loss, and falling with their number: a few losses tell little of the spread


@dataclass(frozen=True)
class LossStats:
    """The losses of late, as much of them as the next limit needs; JSON-ready."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last: float = 0.0

    @property
    def limit(self) -> float:
        """The loss above which the next one is a jump; infinite before the first."""
        if not self.count:
            return math.inf
        return self.mean + SPREADS * (math.sqrt(self.variance) + FLOOR + FIRST / self.count)

    def after(self, loss: float) -> "LossStats":
        """Return what is known after one more loss."""
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
