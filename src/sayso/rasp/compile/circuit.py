"""The parts that a program becomes: named dimensions of the residual stream, attention heads and hidden units.

All are zero at the beginning token, but for its own dimension: it has no index, its query attends to itself alone, and
hidden units are off there. So it can be attended to without adding anything.
"""

from dataclasses import dataclass, field

Form = dict[int, float]
"""A linear form: dimension of the residual stream -> coefficient."""
ONE, BOS, SIZE = 0, 1, 2
"""Dimensions: 1 at every token of the input, 1 at the beginning token, and the constant that fixes the norm."""


def plus(*forms: Form) -> Form:
    """Return the sum of linear forms."""
    found: Form = {}
    for form in forms:
        for dimension, factor in form.items():
            found[dimension] = found.get(dimension, 0.0) + factor
    return {dimension: factor for dimension, factor in found.items() if factor}


def times(factor: float, form: Form) -> Form:
    """Return a multiple of a linear form."""
    return {dimension: factor * one for dimension, one in form.items()}


@dataclass
class Head:
    """An attention head. A pair of positions scores 0 if it is selected, and -`slope` or less if not.

    A copying head attends to the beginning token only where nothing is selected. A counting head gives it the weight
    of `weight` selected positions, so that what arrives of the others is nearly proportional to their number.
    """

    layer: int
    text: str
    scores: list[tuple[Form, Form]]
    """Query and key forms whose products add up to the score, in units of the slope."""
    counts: bool
    levels: int = 1
    """By how many units an unselected pair is below a selected one, so that ranks fit in between."""
    weight: float = 1.0
    noise: float = 0.0
    """Largest error of a score that selects, in units of the slope."""
    outputs: dict[int, Form] = field(default_factory=dict)
    """Dimension that it writes -> what it reads at the key."""


@dataclass
class Unit:
    """A hidden unit of the feed-forward layer: ReLU(reads), and what it adds to each dimension."""

    layer: int
    reads: Form
    writes: Form = field(default_factory=dict)
    text: str = ""


@dataclass
class Circuit:
    """Everything that becomes weights."""

    names: list[str] = field(default_factory=lambda: ["one", "beginning", "norm"])
    largest: list[float] = field(default_factory=lambda: [1.0, 1.0, 0.0])
    """Bound on the magnitude of each dimension."""
    tokens: dict[int, list[float]] = field(default_factory=dict)
    """Dimension -> its value for each token of the alphabet."""
    indices: dict[int, list[float]] = field(default_factory=dict)
    """Dimension -> its value for each index."""
    heads: dict[object, Head] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)

    def dimension(self, name: str, largest: float) -> int:
        """Add a dimension to the residual stream."""
        self.names.append(name)
        self.largest.append(largest)
        return len(self.names) - 1

    def shape(self, layers: int) -> list[int]:
        """Return the number of heads in each layer."""
        return [sum(head.layer == layer for head in self.heads.values()) for layer in range(1, layers + 1)]
