"""What the RASP-L conjecture expects: takes a program, returns whether a model that learns it generalizes in length.

The conjecture (Zhou et al. 2023, "What Algorithms can Transformers Learn?"): a next-token model tends to generalize to
longer inputs if a short program in RASP-L computes the task for all lengths. RASP-L is causal, and numbers that stand
for positions and counts may only be compared, and moved by one. The rule is applied to the program as it is written;
that another one computes the same is not seen.
"""

from dataclasses import dataclass

from sayso.rasp.expression import (
    Aggregate,
    Constant,
    Expression,
    Indices,
    Length,
    Lookup,
    Map,
    SelectorWidth,
    SOp,
    ordered,
)
from sayso.rasp.values import RELATIONS

SHORT = 25
"""Operations of a short program."""
MOVES = ("+", "-")
FREE = (*RELATIONS, "if", "indicator")


@dataclass(frozen=True)
class Expectation:
    """Whether accuracy is expected to stay on longer inputs, and why."""

    generalizes: bool
    reason: str


def expectation(program: SOp, *, causal: bool) -> Expectation:
    """Return what the conjecture expects of a model that is taught a program."""
    if not causal:
        return Expectation(False, "RASP-L is causal, and this program sees later positions")
    order = ordered(program)
    places: set[Expression] = set()
    for one in order:
        if problem := _problem(one, places):
            return Expectation(False, f"RASP-L only compares positions and counts, and moves them by one: {problem}")
        if _is_place(one, places):
            places.add(one)
    count = sum(bool(one.inputs) for one in order)
    if count > SHORT:
        return Expectation(False, f"it is in RASP-L, but long, with {count} operations")
    return Expectation(True, f"it is a short program in RASP-L, with {count} operations")


def _is_place(one: Expression, places: set[Expression]) -> bool:
    """Whether the values of an expression are positions or counts."""
    if isinstance(one, Indices | Length | SelectorWidth):
        return True
    if isinstance(one, Aggregate):
        return one.values in places
    if isinstance(one, Map) and one.operation == "if":
        chosen, _, other = one.arguments
        return chosen in places or other in places
    return isinstance(one, Map) and one.operation in MOVES and any(inner in places for inner in one.arguments)


def _problem(one: Expression, places: set[Expression]) -> str:
    """Return an operation that RASP-L does not have, as a program writes it."""
    if isinstance(one, Lookup) and one.key in places:
        return str(one)
    if not isinstance(one, Map) or one.operation in FREE or not any(inner in places for inner in one.arguments):
        return ""
    others = [inner for inner in one.arguments if inner not in places]
    by_one = all(isinstance(inner, Constant) and inner.value in (-1, 0, 1) for inner in others)
    turned = one.operation == "-" and one.arguments[0] not in places  # 1 - indices counts backwards
    return "" if one.operation in MOVES and len(others) == 1 and by_one and not turned else str(one)
