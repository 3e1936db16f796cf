"""The order of items: every item once per epoch, each epoch in its own order.

Sample number g is item `permutation(seed, g // count, count)[g % count]`: a pure function, so a run that resumes, or
continues with another number of processes, only needs its position.
"""

import numpy as np
import numpy.typing as npt

from sayso.base.errors import UserError

Numbers = npt.NDArray[np.int64]


class Order:
    """An endless run over `count` items; keeps the permutation of one epoch, the last one that was asked for."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count
        self._kept: tuple[int, Numbers] | None = None

    def items(self, first: int, number: int) -> list[tuple[int, int]]:
        """Return (epoch, item) of the samples from `first` on, `number` of them."""
        return [
            (g // self.count, int(self._epoch(g // self.count)[g % self.count])) for g in range(first, first + number)
        ]

    def _epoch(self, epoch: int) -> Numbers:
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, permutation(self.seed, epoch, self.count)
        return self._kept[1]


def permutation(seed: int, epoch: int, count: int, draw: int = 0) -> Numbers:
    """Return the order of `count` items in one epoch; the same for the same arguments, on every machine.

    Two orders of one epoch have different numbers as their `draw`.
    """
    return np.random.default_rng([seed, epoch, draw]).permutation(count)


def check_sizes(rows: int, context: int, seed: int) -> None:
    """Raise `UserError` for a batch without rows, rows too short to hold a token and its target, or a negative seed."""
    if seed < 0:
        raise UserError(f"A seed must be 0 or more; got {seed}.")
    if rows < 1 or context < 2:
        raise UserError(f"A batch needs at least one row of two positions; got {rows} rows of {context}.")
