"""Functions of several numbers as functions of one: takes a table, returns a line on which equal points agree.

A feed-forward layer with steps computes any function of a weighted sum. So the slots of a table get weights: small
ones if the function depends on a sum or a difference alone, such as `length - 1 - indices`; else the digits of a
number with mixed radix, which keeps all combinations apart. Fewest steps win.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, permutations, product
from math import gcd, lcm

import numpy as np

from sayso.rasp.compile.domain import UNDEFINED, Codes, Column, CompileError, Node, Total
from sayso.rasp.values import Value

LONGEST_LINE = 2**20
"""Points on the longest line: beyond, float32 could not hold a third of the gap between two of them."""
LARGEST = 2**50
"""The largest number that is added up, and the largest denominator."""
SAMPLE = 2_000
"""Combinations on which most lines that do not fit are found out."""
MOST_MERGED, MOST_CLASSES = 512, 64
"""Of a slot with more values, those that never disagree get one number only if there are few classes of them."""
MOST_SIGNED, MOST_ORDERED = 4, 4
"""Slots up to which all signs and all orders are tried."""

RISE = 1 / 2
"""The part of a gap, in its middle, over which a step rises; what is left on each side is tolerance."""
EPSILON = 2.0**-23
PART = 512
"""Points whose rounding is computed at once."""

Digit = dict[Node, tuple[list[Fraction], float]]
"""Node -> an integer for each of its values, and what multiplies the value of a total."""


@dataclass(frozen=True)
class Step:
    """A rise from 0 to 1 along a line, or a fall from 1 to 0: ReLU(slope (x - edge)) at one edge minus at the other."""

    slope: float
    edges: tuple[float, float]

    @property
    def falls(self) -> bool:
        """Whether it is 1 at the beginning of the line."""
        return self.slope < 0


@dataclass(frozen=True)
class Line:
    """`weights` gives a number for each value of each slot; their sum is a point; adjacent points are 1 apart or more.

    For a total, the numbers are `slope` times its value.
    """

    weights: dict[Node, list[float]]
    slopes: dict[Node, float]
    points: np.ndarray
    codes: Codes
    """The code of the function's value at each point."""

    def step(self, change: int) -> Step:
        """Return the step between a point and the next: of the two directions, that of the smaller numbers.

        A step is rounded where its units are on, the more the farther away: right of a rise, left of a fall.
        """
        left, right = float(self.points[change]), float(self.points[change + 1])
        margin = (1 - RISE) / 2 * (right - left)
        low, high = left + margin, right - margin
        slope = 1 / (high - low)
        if right - self.points[0] < self.points[-1] - left:
            return Step(-slope, (high, low))
        return Step(slope, (low, high))

    @property
    def steps(self) -> int:
        """Number of adjacent points whose values differ."""
        return int((np.diff(self.codes) != 0).sum())


def find_line(columns: Mapping[Node, Column], codes: Codes, text: str) -> Line:
    """Return the line with the fewest steps. Raises `CompileError` if all are too long."""
    defined = codes != UNDEFINED
    kept = {node: (column[defined], values) for node, (column, values) in columns.items()}
    codes = codes[defined]
    for node in list(kept):
        others = {other: column for other, column in kept.items() if other is not node}
        if _depends_only(list(others.values()), codes):
            kept = others
    for node, (_, values) in kept.items():
        if isinstance(node, Total) and not _fits(values):
            raise CompileError(
                f"Its sums do not fit float32: they must be at most {LARGEST:,}, and multiples of 1/{LARGEST:,} or "
                "more.",
                node.text,
            )
    found = [line for line in _candidates(kept, codes) if line.points[-1] - line.points[0] < LONGEST_LINE]
    if not found:
        raise CompileError(
            f"The values that it depends on need a line of more than {LONGEST_LINE:,} points, which float32 cannot "
            "separate. A smaller --length has fewer.",
            text,
        )
    return min(found, key=lambda line: (line.steps, line.points[-1] - line.points[0]))


def _depends_only(columns: Sequence[Column], codes: Codes) -> bool:
    key = np.zeros(len(codes), dtype=np.int64)
    for column, values in columns:
        key = key * len(values) + column
    return _agree(key, codes) is not None


def _agree(places: Codes, codes: Codes) -> tuple[Codes, Codes] | None:
    """Return the different places in order and the code at each, or None if one has several."""
    order = np.lexsort((codes, places))
    places, codes = places[order], codes[order]
    same = places[1:] == places[:-1]
    if (codes[1:] != codes[:-1])[same].any():
        return None
    first = np.concatenate(([True], ~same)) if len(places) else np.zeros(0, dtype=bool)
    return places[first], codes[first]


def _candidates(columns: Mapping[Node, Column], codes: Codes) -> Iterator[Line]:
    """Yield lines: a signed sum of some or all slots that are numbers, and the other slots, as digits in any order."""
    numbers = {
        node: found
        for node, (_, values) in columns.items()
        if (found := _numbers(values)) is not None and _fits(values)
    }
    single = {node: _digits(node, columns, codes) for node in columns}
    sums: list[tuple[Node, ...]] = [()]
    if len(columns) <= MOST_SIGNED:
        sums += [some for count in range(2, len(numbers) + 1) for some in combinations(numbers, count)]
    for added in sums:
        rest = [{node: single[node]} for node in columns if node not in added]
        for signs in product((1, -1), repeat=max(len(added) - 1, 0)):
            digits = [*rest, _signed(added, (1, *signs), numbers)] if added else rest
            orders = permutations(digits) if len(digits) <= MOST_ORDERED else iter([tuple(digits), tuple(digits)[::-1]])
            yield from filter(None, (_ordered(columns, order, codes) for order in orders))


def _signed(nodes: Sequence[Node], signs: Sequence[int], numbers: Mapping[Node, list[Fraction]]) -> Digit:
    """Return the digit that is a sum and difference of numbers."""
    scale = lcm(*(number.denominator for node in nodes for number in numbers[node]))
    return {
        node: ([sign * scale * number for number in numbers[node]], float(sign * scale))
        for node, sign in zip(nodes, signs, strict=True)
    }


def _ordered(columns: Mapping[Node, Column], digits: Sequence[Digit], codes: Codes) -> Line | None:
    """Return the line of digits, the first the least significant; None if it is too long or points disagree."""
    radix, weights, slopes = 1, {}, {}
    for digit in digits:
        for node, (found, slope) in digit.items():
            weights[node], slopes[node] = [radix * number for number in found], radix * slope
        radix *= int(sum(max(found) - min(found) for found, _ in digit.values())) + 1
    if radix >= LONGEST_LINE or any(abs(weight) > LARGEST for found in weights.values() for weight in found):
        return None
    return _line(columns, weights, slopes, codes)


def _line(
    columns: Mapping[Node, Column], weights: dict[Node, list[Fraction]], slopes: dict[Node, float], codes: Codes
) -> Line | None:
    places = np.zeros(len(codes), dtype=np.int64)
    for node, (column, _) in columns.items():
        places = places + np.array([int(weight) for weight in weights[node]], dtype=np.int64)[column]
    if _agree(places[:SAMPLE], codes[:SAMPLE]) is None or (agreed := _agree(places, codes)) is None:
        return None
    used = {node: list(map(float, found)) for node, found in weights.items() if any(found)}
    return Line(used, {node: slopes[node] for node in used}, agreed[0].astype(np.float64), agreed[1])


def _numbers(values: Sequence[Value]) -> list[Fraction] | None:
    """Return values as fractions, or None if one is not a number."""
    if any(value is None or isinstance(value, str) for value in values):
        return None
    return [Fraction(value) for value in values]  # type: ignore[arg-type]


def _fits(values: Sequence[Value]) -> bool:
    """Whether numbers are neither too large to be added up nor too close together."""
    numbers = _numbers(values)
    assert numbers is not None
    return max(map(abs, numbers)) <= LARGEST and lcm(*(number.denominator for number in numbers)) <= LARGEST


def _digits(node: Node, columns: Mapping[Node, Column], codes: Codes) -> tuple[list[Fraction], float]:
    """Return an integer for each value, and what multiplies the value: classes of values unless it is a total."""
    column, values = columns[node]
    numbers = _numbers(values)
    if isinstance(node, Total):
        assert numbers is not None
        scale = lcm(*(number.denominator for number in numbers))
        step = gcd(*(int(scale * (number - numbers[0])) for number in numbers)) or 1
        return [number * scale / step for number in numbers], scale / step
    order = sorted(range(len(values)), key=lambda place: numbers[place]) if numbers else range(len(values))
    others = np.zeros(len(codes), dtype=np.int64)
    for other, (places, known) in columns.items():
        if other is not node:
            others = others * len(known) + places
    unique, rows = np.unique(others, return_inverse=True)
    pivot = np.full((len(unique), len(values)), UNDEFINED)
    pivot[rows.reshape(-1), column] = codes
    classes: list[Codes] = []
    found = [Fraction(0)] * len(values)
    for place in order:  # values that never disagree get one number
        results = pivot[:, place]
        for number, others in enumerate(classes):
            if ((results == others) | (results == UNDEFINED) | (others == UNDEFINED)).all():
                classes[number] = np.where(others == UNDEFINED, results, others)
                found[place] = Fraction(number)
                break
        else:
            found[place] = Fraction(len(classes))
            classes.append(results)
        if len(values) > MOST_MERGED and len(classes) > MOST_CLASSES:
            return [Fraction(int(place)) for place in np.argsort(order)], 1.0
    return found, 1.0


def rounding(line: Line, steps: Sequence[Step], heights: np.ndarray, expected: np.ndarray) -> float:
    """Return a bound on the error of a sum of steps: three times the largest of all points, computed in float32.

    `heights` and `expected` are in the order of the points. A hidden unit is off, and exactly 0, before the edge of a
    rise and after that of a fall; so of each part of the line only the steps that are on count.
    """
    falls = np.array([step.falls for step in steps], dtype=bool)
    edges = np.array([step.edges for step in steps]).reshape(-1, 2)
    slopes = np.array([step.slope for step in steps])
    offsets = (slopes[:, None] * edges).astype(np.float32)
    signed = np.where(falls, -heights, heights).astype(np.float32)
    slopes = slopes.astype(np.float32)
    reached = np.zeros(len(line.points), dtype=np.float32)
    for first in range(0, len(reached), PART):
        part = slice(first, first + PART)
        points = line.points[part].astype(np.float32)[:, None]
        on = np.where(falls, edges.max(1, initial=-np.inf) > points[0], edges.min(1, initial=np.inf) < points[-1])
        for side, sign in ((0, 1), (1, -1)):
            reached[part] += sign * (np.maximum(points * slopes[on] - offsets[on, side], 0) @ signed[on])
    return 3 * float(np.abs(reached - expected).max()) + EPSILON * float(np.abs(expected).max())
