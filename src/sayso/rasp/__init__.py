"""RASP programs: a language in which every operation is a part of a transformer's layer.

Programs are built with Python's operators from `tokens`, `indices` and `length`, or written in the text language, and
run by an exact interpreter. Nothing here needs torch.
"""

from sayso.rasp.expression import (
    Selector,
    SOp,
    aggregate,
    contains,
    indicator,
    indices,
    length,
    lookup,
    select,
    selector_width,
    tokens,
    where,
)
from sayso.rasp.interpreter import matrix, run

__all__ = [
    "SOp",
    "Selector",
    "aggregate",
    "contains",
    "indicator",
    "indices",
    "length",
    "lookup",
    "matrix",
    "run",
    "select",
    "selector_width",
    "tokens",
    "where",
]
