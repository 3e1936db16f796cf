"""The return value of every loss for one part of a batch: a sum, its divisor, and metrics.

A step divides the total of its sums once by the total count, however the batch is split over devices (a mean of means
would overweight short rows). Each metric is averaged in the same way over its items.
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
    """Metrics by name: values of any shape, without gradients, which are logged as their mean over the step."""
    trained: int | None = None
    """Number of target tokens, for counting FLOPs; None if equal to `items`."""
