"""The parts that a program becomes: named dimensions of the residual stream, attention heads and hidden units.

All are zero at the beginning token, but for its own dimension: it has no index, its query attends to itself alone, and
hidden units are off there. So it can be attended to without adding anything.
"""

from dataclasses import dataclass, field
from typing import Literal

Form = dict[int, float]
"""A linear form: dimension of the residual stream -> coefficient."""
ONE, BOS, SIZE = 0, 1, 2
"""Dimensions: 1 at every token of the input, 1 at the beginning token, and, if there are norms, a large constant."""


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


def reach(form: Form) -> float:
    """Return how much an error of 1 in every dimension can change a linear form."""
    return sum(map(abs, form.values()))


@dataclass(frozen=True)
class Architecture:
    """The kind of model that a program becomes. Layer norms with a GELU or ReLU are a GPT-2."""

    norm: Literal["none", "rms", "layer"] = "rms"
    mlp: Literal["relu", "gelu", "swiglu"] = "gelu"

    @property
    def is_gpt2(self) -> bool:
        """Whether it has biases, and heads that fill the width."""
        return self.norm == "layer" and self.mlp != "swiglu"


ORDINARY = Architecture()


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
    mass: float = 0.0
    """Largest sum of the magnitudes of the products that cancel in a score that selects."""
    reach: float = 0.0
    """How much an error of 1 in every dimension can change a product, as a part of its magnitude."""
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

    names: list[str] = field(default_factory=lambda: ["one", "beginning"])
    largest: list[float] = field(default_factory=lambda: [1.0, 1.0])
    """Bound on the magnitude of each dimension."""
    tokens: dict[int, list[float]] = field(default_factory=dict)
    """Dimension -> its value for each token of the alphabet."""
    indices: dict[int, list[float]] = field(default_factory=dict)
    """Dimension -> its value for each index."""
    heads: dict[object, Head] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)
    nothing: int | None = None
    """The dimension that is always 0, from which a layer norm takes the mean as from all others."""

    def dimension(self, name: str, largest: float) -> int:
        """Add a dimension to the residual stream."""
        self.names.append(name)
        self.largest.append(largest)
        return len(self.names) - 1

    def read(self, form: Form) -> Form:
        """Return the form as a sublayer reads it: after a layer norm, without the mean that the norm took."""
        return form if self.nothing is None else plus(form, {self.nothing: -sum(form.values())})

    def shape(self, layers: int) -> list[int]:
        """Return the number of heads in each layer."""
        return [sum(head.layer == layer for head in self.heads.values()) for layer in range(1, layers + 1)]
