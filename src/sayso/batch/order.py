"""The order of items: every item once per epoch, each epoch in its own random order.

Sample number g is item `permutation(seed, g // count, count)[g % count]`, a pure function, so that a resumed run only
needs its position, whatever the number of processes.
"""

import numpy as np
import numpy.typing as npt

from sayso.base.errors import UserError

Numbers = npt.NDArray[np.int64]


class Order:
    """An endless sequence of `count` items; caches the permutation of the latest epoch."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count
        self._cached: tuple[int, Numbers] | None = None

    def items(self, first: int, number: int) -> list[tuple[int, int]]:
        """Return (epoch, item) of `number` samples, starting with `first`."""
        return [
            (g // self.count, int(self._epoch(g // self.count)[g % self.count])) for g in range(first, first + number)
        ]

    def _epoch(self, epoch: int) -> Numbers:
        if self._cached is None or self._cached[0] != epoch:
            self._cached = epoch, permutation(self.seed, epoch, self.count)
        return self._cached[1]


def permutation(seed: int, epoch: int, count: int, stream: int = 0) -> Numbers:
    """Return the order of `count` items in an epoch; the same for the same arguments, on every machine.

    `stream` distinguishes several orders of the same epoch.
    """
    return np.random.default_rng([seed, epoch, stream]).permutation(count)


def check_sizes(rows: int, context: int, seed: int) -> None:
    """Raise `UserError` for a negative seed, no rows, or rows too short for a token and its target."""
    if seed < 0:
        raise UserError(f"A seed must be 0 or more; got {seed}.")
    if rows < 1 or context < 2:
        raise UserError(f"A batch needs at least one row of two positions; got {rows} rows of {context}.")
