"""Items as the console of the language prints them: takes a name and an item, returns lines of text.

The forms are those of the original console, so that its published transcripts can be compared with ours.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

from sayso.base.errors import UserError
from sayso.rasp.expression import Expression, Selector, SOp
from sayso.rasp.operations import evaluate, is_value
from sayso.rasp.scope import Builtin, Evaluated, Function, Item
from sayso.rasp.values import Value

Example = Callable[[Expression], Item]
"""Gives the example on which to show an s-op or a selector, None for none."""
DIGITS = 3


def item_lines(name: str, item: Item, example: Example, *, causal: bool = False, verbose: bool = False) -> list[str]:
    """Return what the console prints for a statement's item."""
    if isinstance(item, Evaluated):
        return evaluated_lines(item, verbose=verbose)
    if isinstance(item, SOp | Selector):
        kind = "selector" if isinstance(item, Selector) else "s-op"
        return [f"     {kind}: {name}", *_example_lines(name, item, example(item), causal, verbose)]
    if isinstance(item, Function):
        return [f"     {item.scope.owner} function: {item.name}({', '.join(item.arguments)})"]
    if isinstance(item, Builtin):
        return [f"     language function: {item.name}"]
    if isinstance(item, list | dict):
        return _container_lines(name, item, example)
    return [f"    value: {name} =  {_quoted(item)}"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 layer", "2 layers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def evaluated_lines(item: Evaluated, *, verbose: bool = False) -> list[str]:
    """Return the values of an s-op on an input, or the rows of a selector."""
    if item.values is None:
        return ["\t = ", *matrix_lines(item)]
    return ["\t = ", *_column_lines(item)] if verbose else [f"\t =  {sequence_text(item.values)}"]


def sequence_text(values: Sequence[Value]) -> str:
    """Return values and their type: "[0, 1, 2] (ints)"; equal ones as "[5]*3 (ints)"."""
    same = len(values) > 1 and all(type(one) is type(values[0]) and one == values[0] for one in values)
    shown = f"[{small(values[0])}]*{len(values)}" if same else f"[{', '.join(map(small, values))}]"
    return f"{shown} ({type_name(values)})"


def type_name(values: Sequence[Value]) -> str:
    """Return the type of an s-op's values: "strings", "bools", "ints", "floats", or "values" for none or None."""
    known = [value for value in values if value is not None]
    for name, kinds in (("values", ()), ("strings", str), ("bools", bool), ("ints", int)):
        if all(isinstance(value, kinds) for value in known):
            return name
    return "floats"


def small(value: Value) -> str:
    """Return a value in a few characters: T and F, and fractions to three digits."""
    if isinstance(value, bool):
        return "T" if value else "F"
    return str(_decimal(value, DIGITS)) if isinstance(value, Fraction) else str(value)


def matrix_lines(item: Evaluated, results: Sequence[Value] = ()) -> list[str]:
    """Return the rows of a selector, keys on top and queries left; `results` of an aggregate stand right of them."""
    labels = list(map(small, item.sequence))
    left, width = max([1, *map(len, labels)]), max([1, *map(len, labels)])
    lines = [f" \t\t\t {' ' * left}   {' '.join(label.rjust(width) for label in labels)}"]
    for place, row in enumerate(item.rows or ()):
        cells = " ".join(("1" if one else "").rjust(width) for one in row)
        lines.append(f" \t\t\t {labels[place].rjust(left)} | {cells}{f' | {small(results[place])}' if results else ''}")
    return lines


def _example_lines(name: str, item: SOp | Selector, example: Item, causal: bool, verbose: bool) -> list[str]:
    if example is None:
        return []
    given = f'"{example}"' if isinstance(example, str) else _quoted(example)
    try:
        found = evaluate(item, example, causal=causal)
    except UserError as error:
        return [f" \t No value for {name}({given}): {error}"]
    if found.values is None:
        return [" \t Example:", *matrix_lines(found)]
    if verbose:
        return [f" \t Example: {name}({given}) =", *_column_lines(found)]
    return [f" \t Example: {name}({given}) = {sequence_text(found.values)}"]


def _column_lines(item: Evaluated) -> list[str]:
    width = max([1, *(len(small(one)) for one in item.sequence)])
    pairs = zip(item.sequence, item.values or (), strict=True)
    return [f" \t\t\t {small(one).rjust(width)} | {small(value)}" for one, value in pairs]


def _container_lines(name: str, item: list[Item] | dict[Value, Item], example: Example) -> list[str]:
    named = f"   {'list' if isinstance(item, list) else 'dict'}: {name}{' = ' if name else ''}"
    inside: Sequence[Item] = item if isinstance(item, list) else list(item.values())
    if all(is_value(one) for one in inside):
        return [f"  {named}{_quoted(item)}"]
    keys = [""] * len(item) if isinstance(item, list) else [f"{_quoted(key)} :" for key in item]
    opened, closed, tabs = ("[", "]", "\t\t") if isinstance(item, list) else ("{", "}", "\t\t\t")
    lines = [f"  {named} {opened}"]
    for key, one in zip(keys, inside, strict=True):
        first, *others = _inner_lines(one, example)
        lines += [f"{tabs}{key}{first}", *(f"{tabs}{line}" for line in others)]
    return [*lines, f" {' ' * len(named)} {closed}"]


def _inner_lines(item: Item, example: Example) -> list[str]:
    """Return the lines of an item in a container, which has no name of its own."""
    if is_value(item):
        return [f"    value:  {_quoted(item)}"]
    return item_lines(str(item) if isinstance(item, SOp | Selector) else "", item, example)


def _quoted(item: Item) -> str:
    """Return an item as a list or a dict shows it; a string on its own in double quotes, as in a program."""
    return f'"{item}"' if isinstance(item, str) else str(_plain(item))


def _plain(item: Item) -> object:
    """Return an item as an object that Python prints as the original console did."""
    if isinstance(item, Fraction):
        return _decimal(item, None)
    if isinstance(item, list):
        return [_plain(one) for one in item]
    if isinstance(item, dict):
        return {_plain(key): _plain(one) for key, one in item.items()}
    return item


def _decimal(value: Fraction, digits: int | None) -> float | int:
    """Return a fraction as a decimal number; one too large for that, without its digits after the point."""
    try:
        return float(value) if digits is None else round(float(value), digits)
    except OverflowError:
        return round(value)
