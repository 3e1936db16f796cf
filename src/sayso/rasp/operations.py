"""What the operators and functions of the text language do: takes items of any kind, returns an item.

Operations on constants give a constant at once; with an s-op or a selector among the operands, they build an
expression.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial
from typing import Literal

from sayso.base.errors import UserError
from sayso.rasp.expression import (
    How,
    Indices,
    Length,
    Selector,
    SOp,
    Tokens,
    aggregate,
    contains,
    elementwise,
    indicator,
    lookup,
    select,
    selector_width,
    where,
)
from sayso.rasp.interpreter import matrix, run
from sayso.rasp.scope import Builtin, Evaluated, Item, Scope, described
from sayso.rasp.values import Value, apply, exact

LONGEST_RANGE = 100_000
KINDS: tuple[Literal["asis", "str", "int", "float", "bool"], ...] = ("asis", "str", "int", "float", "bool")


def is_value(item: Item) -> bool:
    """Whether an item is a constant of a single value."""
    return item is None or isinstance(item, bool | int | Fraction | str)


def operate(operation: str, *operands: Item) -> Item:
    """Return an operation of `values.OPERATIONS` on constants, s-ops, selectors or lists."""
    first = operands[0]
    if operation in ("and", "or", "not") and any(isinstance(one, Selector) for one in operands):
        return _selectors(operation, operands)
    if operation == "+" and len(operands) == 2 and isinstance(first, list) and isinstance(operands[1], list):
        return _listed([*first, *operands[1]])
    for one in operands:
        if not is_value(one) and not isinstance(one, SOp):
            raise UserError(f"'{operation}' needs constants or s-ops; got {described(one)}.")
    if any(isinstance(one, SOp) for one in operands):
        return elementwise(operation, *operands)
    return apply(operation, tuple(map(exact, operands)))


def choose(chosen: Item, condition: Item, other: Item) -> Item:
    """Return `chosen if condition else other`, at each position if the condition is an s-op."""
    if isinstance(condition, SOp):
        return where(condition, chosen, other)
    if not is_value(condition):
        raise UserError(f"A condition must be an s-op or a constant; got {described(condition)}.")
    return chosen if condition else other


def is_in(item: Item, container: Item) -> Item:
    """Return `item in container`, for a list, a dict, a string or an s-op as the container."""
    if isinstance(container, SOp):
        return contains(container, item)
    if isinstance(container, str) and isinstance(item, str):
        return item in container
    if not isinstance(container, list | dict | str):
        raise UserError(f"'in' needs a list, a dict, a string or an s-op; got {described(container)}.")
    members = list(container)
    if isinstance(item, SOp):
        return item.is_in(members)
    found: Item = False
    for one in members:
        found = operate("or", found, operate("==", item, one))
    return found


def at(container: Item, index: Item) -> Item:
    """Return `container[index]`; with an s-op as the index, the entry for the value at each position."""
    if isinstance(container, SOp):
        if not isinstance(index, int) or isinstance(index, bool):
            raise UserError(f"An s-op is indexed with an integer; got {described(index)}.")
        return container[index]
    if not isinstance(container, list | dict | str):
        raise UserError(f"Only a list, a dict, a string or an s-op is indexed; got {described(container)}.")
    if isinstance(index, SOp):
        return lookup(container, index)
    if isinstance(container, dict):
        key = dict_key(index)
        if key not in container:
            raise UserError(f"The dict has no entry for {described(key)}.")
        return container[key]
    if not isinstance(index, int) or isinstance(index, bool):
        raise UserError(f"A {_name(container)} is indexed with an integer or an s-op; got {described(index)}.")
    if not -len(container) <= index < len(container):
        raise UserError(f"The index {index} is outside the {_name(container)}, whose length is {len(container)}.")
    return container[index]


def dict_key(item: Item) -> Value:
    """Return the key of a dict, which must be a constant."""
    if isinstance(item, list | dict) or not is_value(item):
        raise UserError(f"A key of a dict must be a constant; got {described(item)}.")
    return exact(item)


def iterated(item: Item) -> list[Item]:
    """Return what a loop goes over: the items of a list, or the keys of a dict."""
    if not isinstance(item, list | dict):
        raise UserError(f"A loop goes over a list or a dict; got {described(item)}.")
    return list(item)


def evaluate(item: SOp | Selector, sequence: Item, *, causal: bool) -> Evaluated:
    """Return the values of an s-op, or the rows of a selector, on an input."""
    values = as_input(sequence)
    if isinstance(item, Selector):
        rows = matrix(item, values, causal=causal)
        return Evaluated(values, None, tuple(map(tuple, rows)))
    return Evaluated(values, tuple(run(item, values, causal=causal)))


def as_input(item: Item) -> tuple[Value, ...]:
    """Return an input as values: the characters of a string, or a list of constants."""
    if not isinstance(item, str | list):
        raise UserError(
            f'An input is a string or a list of constants, such as "hello" or [1, 2]; got {described(item)}.'
        )
    return tuple(map(exact, item))


def language() -> Scope:
    """Return the scope of the language's own names."""
    scope = Scope(owner="language")
    scope.items |= {"True": True, "False": False, "None": None, "indices": Indices(), "length": Length()}
    scope.items |= {f"tokens_{kind}": Tokens(kind) for kind in KINDS}
    scope.items["tokens"] = scope.items["tokens_str"]
    scope.items["full_s"] = select(1, 1, "==")
    functions = (
        Builtin("aggregate", 2, 3, partial(_aggregate, "mean")),
        Builtin("aggregate_max", 2, 3, partial(_aggregate, "max")),
        Builtin("aggregate_min", 2, 3, partial(_aggregate, "min")),
        Builtin("selector_width", 1, 1, _width),
        Builtin("round", 1, 1, lambda item: operate("round", item)),
        Builtin("indicator", 1, 1, _indicator),
        Builtin("range", 1, 3, _range),
        Builtin("zip", 1, 1000, _zip),
        Builtin("len", 1, 1, _len),
    )
    scope.items |= {function.name: function for function in functions}
    return scope


def _listed(items: list[Item]) -> list[Item]:
    if len(items) > LONGEST_RANGE:
        raise UserError(f"A list may have at most {LONGEST_RANGE:,} items; got {len(items):,}.")
    return items


def _selectors(operation: str, operands: Sequence[Item]) -> Selector:
    for one in operands:
        if not isinstance(one, Selector):
            raise UserError(f"'{operation}' needs two selectors or none; one operand is {described(one)}.")
    first, *others = operands
    assert isinstance(first, Selector)
    return ~first if not others else first & others[0] if operation == "and" else first | others[0]


def _aggregate(how: How, selector: Item, values: Item, default: Item = 0) -> SOp:
    if not isinstance(selector, Selector):
        raise UserError(f"aggregate needs a selector first; got {described(selector)}.")
    return aggregate(selector, _sop_or_value(values), exact(default), how)


def _width(selector: Item) -> SOp:
    if not isinstance(selector, Selector):
        raise UserError(f"selector_width needs a selector; got {described(selector)}.")
    return selector_width(selector)


def _indicator(item: Item) -> Item:
    return indicator(item) if isinstance(item, SOp) else operate("indicator", item)


def _range(*ends: Item) -> list[Item]:
    numbers = [end for end in ends if isinstance(end, int) and not isinstance(end, bool)]
    if len(numbers) < len(ends) or (len(ends) == 3 and not numbers[2]):
        raise UserError(f"range needs integers, and a step other than 0; got {', '.join(map(described, ends))}.")
    if len(range(*numbers)) > LONGEST_RANGE:
        raise UserError(f"A range may have at most {LONGEST_RANGE:,} numbers; got {len(range(*numbers)):,}.")
    return list(range(*numbers))


def _zip(*lists: Item) -> list[Item]:
    rows: Iterable[tuple[Item, ...]] = zip(*map(iterated, lists), strict=False)
    return [list(row) for row in rows]


def _len(item: Item) -> int:
    if not isinstance(item, list | dict | str):
        raise UserError(f"len needs a list, a dict or a string; got {described(item)}.")
    return len(item)


def _sop_or_value(item: Item) -> SOp | Value:
    if isinstance(item, SOp):
        return item
    if not is_value(item):
        raise UserError(f"An s-op or a constant is needed here; got {described(item)}.")
    return exact(item)


def _name(container: list[Item] | str) -> str:
    return "list" if isinstance(container, list) else "string"
