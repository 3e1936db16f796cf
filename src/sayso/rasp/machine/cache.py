"""Caches of two-dimensional keys: add a key, find the one with the largest dot product with a query.

The key that is furthest in a direction is a corner of the keys' convex hull, and along the hull the dot product rises
to it and then falls, so that a binary search finds it: O(log n). Keys are integers, and so are all comparisons here, so
that the result is the one of trying all keys. Equal products: the largest key (x, then y) wins; equal keys: the latest.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Cache(Protocol):
    """Interface of a cache of keys, which are numbered from 0."""

    def add(self, x: int, y: int) -> None:
        """Add a key."""
        ...

    def best(self, a: int, b: int) -> int:
        """Return the number of the key (x, y) with the largest a x + b y. There must be one."""
        ...


class Chain:
    """The upper half of a convex hull: corners from left to right, between which the slopes fall.

    Adding a key takes O(log n) comparisons, and each key is removed once at most. One that is further right than all
    others is appended; another one moves those behind it in the list, which is 8 bytes each.
    """

    def __init__(self) -> None:
        self.xs: list[int] = []
        self.ys: list[int] = []
        self.numbers: list[int] = []

    def add(self, x: int, y: int, number: int) -> None:
        """Add a key, unless it is below the hull."""
        xs, ys = self.xs, self.ys
        place = bisect_left(xs, x)
        if place < len(xs) and xs[place] == x:
            if y < ys[place]:
                return
            ys[place], self.numbers[place] = y, number
        elif 0 < place < len(xs) and not self._above(place - 1, x, y, place):
            return
        else:
            xs.insert(place, x)
            ys.insert(place, y)
            self.numbers.insert(place, number)
        first, last = place, place + 1
        while first > 1 and not self._above(first - 2, xs[first - 1], ys[first - 1], place):
            first -= 1
        while last < len(xs) - 1 and not self._above(place, xs[last], ys[last], last + 1):
            last += 1
        for column in (xs, ys, self.numbers):
            del column[place + 1 : last]
            del column[first:place]

    def _above(self, left: int, x: int, y: int, right: int) -> bool:
        """Whether a key is above the line between two corners on both sides of it."""
        x0, y0 = self.xs[left], self.ys[left]
        return (y - y0) * (self.xs[right] - x0) > (self.ys[right] - y0) * (x - x0)

    def best(self, a: int, b: int) -> int:
        """Return the number of the furthest corner, for b >= 0."""
        xs, ys = self.xs, self.ys
        low, high = 0, len(xs) - 1
        while low < high:  # the products fall from the first corner whose successor's is less
            middle = (low + high) // 2
            if a * (xs[middle + 1] - xs[middle]) + b * (ys[middle + 1] - ys[middle]) < 0:
                high = middle
            else:
                low = middle + 1
        return self.numbers[low]


class HullCache:
    """Finds a key in O(log n), in any direction."""

    def __init__(self) -> None:
        self.upper, self.lower, self.count = Chain(), Chain(), 0

    def add(self, x: int, y: int) -> None:
        """Add a key."""
        self.upper.add(x, y, self.count)
        self.lower.add(x, -y, self.count)
        self.count += 1

    def best(self, a: int, b: int) -> int:
        """Return the number of the key with the largest product."""
        return self.upper.best(a, b) if b >= 0 else self.lower.best(a, -b)


class Rows:
    """A table of float64 that grows by rows."""

    def __init__(self, width: int) -> None:
        self.table, self.count = np.empty((256, width)), 0

    def add(self, row: Sequence[float] | NDArray[np.float64]) -> None:
        """Add a row."""
        if self.count == len(self.table):
            self.table = np.concatenate((self.table, np.empty_like(self.table)))
        self.table[self.count] = row
        self.count += 1


class PlainCache:
    """Tries all keys, as attention does: O(n). Products must be below 2^53."""

    def __init__(self) -> None:
        self.keys = Rows(2)

    def add(self, x: int, y: int) -> None:
        """Add a key."""
        self.keys.add((x, y))

    def best(self, a: int, b: int) -> int:
        """Return the number of the key with the largest product."""
        keys = self.keys.table[: self.keys.count]
        products = keys @ (a, b)
        found = np.flatnonzero(products == products.max())
        for column in keys.T:
            if len(found) > 1:
                found = found[column[found] == column[found].max()]
        return int(found[-1])
