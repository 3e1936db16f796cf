"""How an expression is written in the language: takes a node of the graph, returns a short text for messages."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from sayso.rasp.expression import (
    Aggregate,
    Combined,
    Constant,
    Expression,
    Indices,
    Length,
    Lookup,
    Map,
    Member,
    Select,
    SelectorWidth,
    Tokens,
    ordered,
)
from sayso.rasp.values import shown

DEPTH = 3
ENTRIES = 8
CALLS = ("round", "indicator")


def notation(expression: Expression, depth: int = DEPTH) -> str:
    """Return an expression as a program writes it, with "..." for what is below a depth."""
    if depth < 1 and expression.inputs:
        return "..."
    parts = [notation(one, depth - 1) for one in expression.inputs]
    if isinstance(expression, Map | Combined) and expression.operation not in CALLS:
        parts = list(map(_grouped, expression.inputs, parts))
    return written(expression, parts)


def statements(program: Expression) -> str:
    """Return a program as assignments that the text language reads back: one for each operation, the last the result.

    `tokens` are there what they are in Python: the input as it is.
    """
    names: dict[Expression, str] = {}
    lines = ["tokens = tokens_asis;"]
    for one in ordered(program):
        text = written(one, [names[inner] for inner in one.inputs], entries=None)
        if isinstance(one, Tokens | Indices | Length | Constant) and one is not program:
            names[one] = f"({text})" if isinstance(one, Constant) and text[0] not in '"TFN' else text
        else:
            names[one] = f"s{len(lines)}"
            lines.append(f"{names[one]} = {text};")
    return "\n".join(lines) + "\n"


def written(expression: Expression, inner: Sequence[str], entries: int | None = ENTRIES) -> str:
    """Return an expression as a program writes it, from the texts of its inputs.

    Of a list or a dict, the first `entries` are written; None = all.
    """
    match expression:
        case Tokens(kind):
            return "tokens" if kind == "asis" else f"tokens_{kind}"
        case Indices():
            return "indices"
        case Length():
            return "length"
        case Constant(value):
            return shown(value)
        case Map(operation) | Combined(operation):
            return _operation(operation, inner)
        case Member(members, _):
            return f"{inner[0]} in [{_list(map(shown, members), entries)}]"
        case Lookup(table, _):
            return f"{{{_list((f'{shown(key)}: {shown(value)}' for key, value in table), entries)}}}[{inner[0]}]"
        case Aggregate(default=default, how=how):
            return f"aggregate{'' if how == 'mean' else f'_{how}'}({', '.join(inner)}, {shown(default)})"
        case SelectorWidth():
            return f"selector_width({inner[0]})"
        case Select(relation=relation):
            return f"select({', '.join(inner)}, {relation})"
    raise AssertionError(type(expression))


def _operation(operation: str, parts: Sequence[str]) -> str:
    if operation == "if":
        return f"{parts[0]} if {parts[1]} else {parts[2]}"
    if operation in CALLS:
        return f"{operation}({parts[0]})"
    sign = {"negate": "-", "plus": "+", "not": "not "}.get(operation, operation)
    return f"{sign}{parts[0]}" if len(parts) == 1 else f"{parts[0]} {sign} {parts[1]}"


def _grouped(expression: Expression, text: str) -> str:
    """Return an operand in parentheses where an operator needs them."""
    bare = isinstance(expression, Tokens | Indices | Length | Constant | Aggregate | SelectorWidth)
    if isinstance(expression, Constant):
        bare = not isinstance(expression.value, Fraction)
    return text if bare or text == "..." else f"({text})"


def _list(parts: Iterable[str], entries: int | None) -> str:
    found = list(parts)
    return ", ".join(found[:entries]) + (", ..." if entries is not None and len(found) > entries else "")
