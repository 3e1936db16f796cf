"""The return value of every loss for one part of a batch: a sum, its divisor, and metrics.

A step divides its sum once by its count, however it was split or distributed; metrics are averaged alike, each
over its own items (a mean of means would overweight short rows).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

NONE: Mapping[str, Tensor] = MappingProxyType({})


class Term(NamedTuple):
    """The loss of one part of a batch."""

    loss: Tensor
    """Summed loss, a scalar with gradient."""
    items: int
    """Divisor of the sum over all parts: tokens, pairs or replies."""
    seen: int
    """Tokens read."""
    figures: Mapping[str, Tensor] = NONE
    """By name, one value per item, in any shape: logged as the mean over the whole step. Without gradients."""
    trained: int | None = None
    """Target tokens, for counting operations; None if they are the items."""
