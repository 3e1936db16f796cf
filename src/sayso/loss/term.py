"""What every loss returns of one part of a batch: a sum, what to divide it by, and the figures that people look at.

A step divides its sum once by its count, however it was cut into parts or shared out; figures are averaged alike, each
over its own items (a mean of means would weigh short rows too much).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

NONE: Mapping[str, Tensor] = MappingProxyType({})


class Term(NamedTuple):
    """The loss of one part of a batch."""

    loss: Tensor
    """Summed, a scalar that gradients flow from."""
    items: int
    """What the sum of all parts is divided by: tokens, pairs or replies."""
    seen: int
    """Tokens read."""
    figures: Mapping[str, Tensor] = NONE
    """By name, one value an item, of any shape: their mean over the whole step is told. Without gradients."""
    trained: int | None = None
    """Tokens that have a target, by which operations are counted; None where they are the items."""
