"""The learning rate schedule: short linear warmup, plateau, linear decay to zero.

Linear decay to zero beats a floor of a tenth (Bergsma et al. 2025, "Straight to Zero").
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Factor from 0 to 1 on the peak learning rate, by step."""

    steps: int
    """Number of steps."""
    warmup: int = 10
    """Steps of linear warmup."""
    decay: float = 0.8
    """Share of the steps, at the end, over which the rate decays linearly to zero."""

    def factor(self, step: int) -> float:
        """Return the factor of a step, counted from 0."""
        rise = (step + 1) / self.warmup if step < self.warmup else 1.0
        falling = max(1.0, self.decay * self.steps)
        return min(rise, 1.0, (self.steps - step) / falling)


def tuning_schedule(steps: int) -> Schedule:
    """Return the schedule of a tuning run: a short warmup, then linear decay to zero."""
    return Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0)
