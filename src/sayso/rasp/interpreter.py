"""The exact interpreter of RASP: takes an expression and an input, returns a value per position or a selector's matrix.

Means are fractions, so that a result is the language's definition and not an approximation. In the causal dialect a
position sees only itself and earlier positions, as in RASP-L (Zhou et al., "What Algorithms can Transformers Learn?",
2023), and may take the max and min of what it selects.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from sayso.base.errors import UserError
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
    Selector,
    SelectorWidth,
    SOp,
    Tokens,
    ordered,
)
from sayso.rasp.values import (
    Value,
    apply,
    check_one_type,
    checked_size,
    compare,
    exact,
    is_number,
    kind_of,
    look_up,
    shown,
)

Row = list[bool]
LONGEST = 4096  # a selector has the square of it


class EvaluationError(UserError):
    """An input for which an expression has no value; `expression` is the innermost one that has none."""

    def __init__(self, message: str, expression: Expression) -> None:
        super().__init__(f"{message} This happens in {expression}.")
        self.message, self.expression = message, expression


def run(program: SOp, sequence: Iterable[object], *, causal: bool = False) -> list[Value]:
    """Return the value of an s-op at each position of an input: the characters of a string, or a list of values.

    Raises `UserError` for an input without a value, with the expression that has none.
    """
    return Trace(program, sequence, causal=causal).values[program]


def matrix(selector: Selector, sequence: Iterable[object], *, causal: bool = False) -> list[Row]:
    """Return the rows (queries) of a selector on an input, a boolean per column (key)."""
    return Trace(selector, sequence, causal=causal).rows[selector]


class Trace:
    """The value of an expression and of everything that it is computed from."""

    def __init__(self, program: Expression, sequence: Iterable[object], *, causal: bool = False) -> None:
        self.sequence = [exact(value) for value in sequence]
        if len(self.sequence) > LONGEST:
            raise UserError(f"An input may have at most {LONGEST:,} positions; got {len(self.sequence):,}.")
        self.causal = causal
        self.values: dict[SOp, list[Value]] = {}
        self.rows: dict[Selector, list[Row]] = {}
        self.order = ordered(program)
        for one in self.order:
            self._compute(one)

    def _compute(self, one: Expression) -> None:
        try:
            if isinstance(one, Selector):
                self.rows[one] = self._rows(one)
            elif isinstance(one, SOp):
                values = self._values(one)
                check_one_type(values)
                self.values[one] = values
        except EvaluationError:
            raise
        except UserError as error:
            raise EvaluationError(str(error), one) from error

    def _values(self, one: SOp) -> list[Value]:
        size = range(len(self.sequence))
        match one:
            case Tokens(kind):
                return [CONVERT[kind](value) for value in self.sequence]
            case Indices():
                return list(size)
            case Length():
                return [place + 1 if self.causal else len(self.sequence) for place in size]
            case Constant(value):
                return [value for _ in size]
            case Map(operation, arguments):
                columns = [self.values[argument] for argument in arguments]
                return [apply(operation, tuple(column[place] for column in columns)) for place in size]
            case Member(members, value):
                return [None if found is None else found in members for found in self.values[value]]
            case Lookup(table, key):
                entries = dict(table)
                return [look_up(entries, found) for found in self.values[key]]
            case SelectorWidth(selector):
                return [sum(row) for row in self.rows[selector]]
            case Aggregate():
                return self._aggregated(one)
        raise AssertionError(one)

    def _aggregated(self, one: Aggregate) -> list[Value]:
        check_dialect(one.how, self.causal)
        values = self.values[one.values]
        chosen = (
            [value for value, picked in zip(values, row, strict=True) if picked] for row in self.rows[one.selector]
        )
        return [summary(one.how, found, place) if found else one.default for place, found in enumerate(chosen)]

    def _rows(self, one: Selector) -> list[Row]:
        match one:
            case Select(key, query, relation):
                keys, queries = self.values[key], self.values[query]
                return self._visible(lambda row, column: compare(relation, keys[column], queries[row]))
            case Combined("not", (inner,)):
                rows = self.rows[inner]
                return self._visible(lambda row, column: not rows[row][column])
            case Combined(operation, (left, right)):
                both = all if operation == "and" else any
                pairs = zip(self.rows[left], self.rows[right], strict=True)
                return [[both(pair) for pair in zip(*rows, strict=True)] for rows in pairs]
        raise AssertionError(one)

    def _visible(self, selects: Callable[[int, int], bool]) -> list[Row]:
        """Return a matrix from a function of row and column, false where the dialect sees nothing."""
        size = range(len(self.sequence))
        return [[(column <= row or not self.causal) and selects(row, column) for column in size] for row in size]


def check_dialect(how: str, causal: bool) -> None:
    """Raise `UserError` for the max or min of the selected values in the bidirectional dialect."""
    if how != "mean" and not causal:
        raise UserError(
            f"The {how} of the selected values exists only in the causal dialect (causal=True, or --causal)."
        )


def summary(how: str, found: Sequence[Value], place: int) -> Value:
    """Return the mean, max or min of one or more values; None if one of several is None.

    Raises `UserError`, with the position, for a mean of several values that are not numbers.
    """
    if len(found) == 1:
        return found[0]
    if any(value is None for value in found):
        return None
    if how != "mean":
        return max(found) if how == "max" else min(found)  # type: ignore[type-var]
    if not any(is_number(value) for value in found) or any(isinstance(value, str) for value in found):
        raise UserError(
            f"Only numbers have a mean, but position {place} selects {len(found)} {kind_of(found[0])}s, such as "
            f"{shown(found[0])}; select at most one position, or count with indicator()."
        )
    return checked_size(Fraction(sum(found), len(found)))  # type: ignore[arg-type]


def _converted(name: str, convert: Callable[..., Value]) -> Callable[[Value], Value]:
    def applied(value: Value) -> Value:
        try:
            return None if value is None else convert(value)
        except (ValueError, ZeroDivisionError):
            raise UserError(f"tokens_{name} needs an input of {NEEDED[name]}; got {shown(value)}.") from None

    return applied


def _text(value: Value) -> str:
    try:
        return str(float(value)) if isinstance(value, Fraction) else str(value)
    except OverflowError:  # more than any float
        return str(round(value or 0))  # type: ignore[arg-type]


def _boolean(value: Value) -> bool:
    names = {"True": True, "T": True, "False": False, "F": False, True: True, False: False}
    if value not in names:
        raise ValueError
    return names[value]


def _integer(value: Value) -> int:
    number = int(value) if isinstance(value, str) else Fraction(value or 0)
    if number != int(number):
        raise ValueError
    return int(number)


NEEDED = {"int": "integers", "float": "numbers", "bool": "booleans"}
CONVERT: dict[str, Callable[[Value], Value]] = {
    "asis": lambda value: value,
    "str": _converted("str", _text),
    "int": _converted("int", _integer),
    "float": _converted("float", Fraction),
    "bool": _converted("bool", _boolean),
}
