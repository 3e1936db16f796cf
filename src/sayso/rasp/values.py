"""Values of RASP and the elementwise operations on them: exact numbers, booleans, strings, and None.

Takes values, returns a value. A number is an int or a `Fraction`, so that nothing is rounded. None is the value of a
position into which nothing was aggregated: an operation on None gives None, and no comparison with None selects.
"""

import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final

from sayso.base.errors import UserError

Value = bool | int | Fraction | str | None

LARGEST = 10_000
"""Bits of the largest number, so that no typing mistake fills the memory, and every number can be printed."""
LONGEST_TEXT = 100_000


def exact(value: object) -> Value:
    """Return a Python value as a value of RASP; a float becomes the fraction that its decimal digits stand for.

    Raises `UserError` for other types, infinities and NaN.
    """
    if value is None or isinstance(value, bool | int | Fraction | str):
        return checked_size(value)
    if isinstance(value, float) and value - value == 0:
        return Fraction(repr(value))
    raise UserError(f"A value must be a string, a finite number, a boolean or None; got {value!r}.")


def is_number(value: Value) -> bool:
    """Whether a value is a number; booleans are not."""
    return isinstance(value, int | Fraction) and not isinstance(value, bool)


def kind_of(value: Value) -> str:
    """Return the name of a value's type: "string", "boolean", "number" or "None"."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "None" if value is None else "number"


def shown(value: Value) -> str:
    """Return a value as it is written in a program, fractions as such."""
    return f'"{value}"' if isinstance(value, str) else str(value)


def check_one_type(values: Iterable[Value]) -> None:
    """Raise `UserError` unless all values are strings, or none is; None may be anywhere."""
    first: dict[bool, Value] = {}
    for value in values:
        if value is not None:
            first.setdefault(isinstance(value, str), value)
    if len(first) == 2:
        raise UserError(
            f"All values of an s-op must have one type; got the string {shown(first[True])} and the "
            f"{kind_of(first[False])} {shown(first[False])}."
        )


def apply(operation: str, values: tuple[Value, ...]) -> Value:
    """Return the result of an operation of `OPERATIONS` on values.

    Raises `UserError` for wrong types, a division by zero, and powers that are not exact or too large.
    """
    if operation == "if":
        chosen, condition, other = values
        return None if condition is None else chosen if condition else other
    if any(value is None for value in values):
        return None
    return checked_size(OPERATIONS[operation](*values))


def checked_size(value: Value) -> Value:
    """Return a value. Raises `UserError` for numbers and strings that are too long to work with."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise UserError(f"A string may have at most {LONGEST_TEXT:,} characters; got {len(value):,}.")
    if isinstance(value, int | Fraction):
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if bits > LARGEST:
            raise UserError(f"A number may have at most {LARGEST:,} bits; got {bits:,}. Use smaller numbers.")
    return value


def compare(relation: str, left: Value, right: Value) -> bool:
    """Return whether two values have a relation of `RELATIONS`; false if either is None.

    Raises `UserError` for the order of a string and a number.
    """
    return left is not None and right is not None and bool(OPERATIONS[relation](left, right))


def look_up(table: dict[Value, Value], key: Value) -> Value:
    """Return the entry of a table; that of None is None. Raises `UserError` for a missing entry."""
    if key is None:
        return None
    if key not in table:
        known = ", ".join(shown(one) for one in list(table)[:8]) + (", ..." if len(table) > 8 else "")
        raise UserError(f"There is no entry for {shown(key)}; the entries are {known or 'none'}.")
    return table[key]


def _numbers(sign: str, function: Callable[..., Value]) -> Callable[..., Value]:
    """Return an operation that accepts only numbers and booleans."""

    def applied(*values: Value) -> Value:
        for value in values:
            if isinstance(value, str):
                raise UserError(f"'{sign}' needs numbers; got the string {shown(value)}.")
        return function(*values)

    return applied


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, str) != isinstance(right, str):
        raise UserError(f"'+' needs two numbers or two strings; got {shown(left)} and {shown(right)}.")
    return left + right  # type: ignore[operator]


def _divide(left: int | Fraction, right: int | Fraction) -> Value:
    if not right:
        raise UserError(f"A number cannot be divided by 0; got {left} / {right}.")
    return Fraction(left) / right


def _remainder(left: int | Fraction, right: int | Fraction) -> Value:
    if not right:
        raise UserError(f"A remainder needs a divisor other than 0; got {left} % {right}.")
    return left % right


def _power(base: int | Fraction, exponent: int | Fraction) -> Value:
    if exponent != int(exponent):
        raise UserError(f"A power needs an integer exponent, or it would not be exact; got {base} ^ {exponent}.")
    if exponent < 0 and not base:
        raise UserError(f"0 has no negative powers; got {base} ^ {exponent}.")
    size = max(abs(base.numerator), base.denominator).bit_length() - 1
    if size * abs(int(exponent)) > LARGEST:
        raise UserError(f"The power {base} ^ {exponent} has more than {LARGEST:,} bits; use smaller numbers.")
    power = Fraction(base) ** int(exponent)
    return power if isinstance(base, Fraction) or exponent < 0 else int(power)


def _ordered(sign: str, function: Callable[..., bool]) -> Callable[..., Value]:
    def applied(left: Value, right: Value) -> Value:
        if isinstance(left, str) != isinstance(right, str):
            raise UserError(f"'{sign}' needs two numbers or two strings; got {shown(left)} and {shown(right)}.")
        return function(left, right)

    return applied


RELATIONS: Final[dict[str, Callable[..., Value]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": _ordered("<", operator.lt),
    "<=": _ordered("<=", operator.le),
    ">": _ordered(">", operator.gt),
    ">=": _ordered(">=", operator.ge),
}
OPERATIONS: Final[dict[str, Callable[..., Value]]] = {
    **RELATIONS,
    "+": _add,
    "-": _numbers("-", operator.sub),
    "*": _numbers("*", operator.mul),
    "/": _numbers("/", _divide),
    "%": _numbers("%", _remainder),
    "^": _numbers("^", _power),
    "negate": _numbers("-", operator.neg),
    "plus": _numbers("+", operator.pos),
    "and": lambda left, right: left and right,  # Python's: one of the two operands
    "or": lambda left, right: left or right,
    "not": operator.not_,
    "round": _numbers("round", round),
    "indicator": lambda value: 1 if value else 0,
}
"""Name of an elementwise operation -> its function of values other than None."""
