"""Countdown: make a target from some numbers with + - * / and brackets, each number used at most once.

`3 5 8=40` may be answered by `5*8`, and `3 5 8=10` by `(8-3)+5` or `8+5-3`: every right expression counts. A reply is
parsed to a tree over exact fractions and never run; powers, floor division, signs and calls are rejected.
"""

import ast
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from random import Random
from typing import Any

from sayso.base.errors import UserError

from .draw import generator, problem_split
from .types import Problem

ALLOWED = frozenset("0123456789+-*/() ")
_LONGEST = 100  # characters; enough for six numbers of two digits with all brackets
HIGHEST = 20  # largest number; a target is at most 100
OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_Term = tuple[Fraction, str, bool]
"""A value, its expression, and whether that needs brackets inside another."""


def countdown_problem(seed: int, index: int, split: str, size: int) -> Problem:
    """Return the problem of making a target from `size` numbers; the target was made from all of them."""
    if not 2 <= size <= 6:
        raise UserError(f"Countdown needs 2 to 6 numbers; got {size}.")
    draw = generator(seed, index, split, "countdown", size)
    while True:
        numbers = [draw.randint(1, HIGHEST) for _ in range(size)]
        made = _made(draw, numbers)
        if made is None:
            continue
        target, solution = made
        if target not in numbers and problem_split("countdown", target, *sorted(numbers)) == split:
            break
    prompt = f"{' '.join(map(str, numbers))}={target}"
    return Problem(prompt, solution, {"puzzle": "countdown", "numbers": numbers, "target": target})


def countdown_score(_prompt: object, reply: str, info: Mapping[str, Any]) -> float:
    """Return 1 for an expression that makes the target and uses each number at most once, else 0.

    With `"all": true` in `info`, each number must be used.
    """
    return float(_value(reply, info) == info["target"])


def legal(_prompt: object, reply: str, info: Mapping[str, Any]) -> float:
    """Return 1 for an expression that follows the rules, whatever its value, else 0."""
    return float(_value(reply, info) is not None)


def _value(reply: str, info: Mapping[str, Any]) -> Fraction | None:
    """Return the value of a reply, or None if it breaks a rule."""
    if not 0 < len(reply) <= _LONGEST or not ALLOWED.issuperset(reply):
        return None
    used: list[int] = []
    try:
        value = _evaluate(ast.parse(reply.strip(), mode="eval").body, used)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None
    have, need = Counter(info["numbers"]), Counter(used)
    fits = need == have if info.get("all") else need <= have
    return value if fits else None


def _evaluate(node: ast.expr, used: list[int]) -> Fraction:
    """Return the exact value of a tree, and append its numbers to `used`. Raises `ValueError` for other syntax."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](_evaluate(node.left, used), _evaluate(node.right, used))
    raise ValueError(ast.dump(node))


def _made(draw: Random, numbers: list[int]) -> tuple[int, str] | None:
    """Return a target of 1 to 100 and an expression of all numbers with this value; None if this draw made none."""
    terms: list[_Term] = [(Fraction(number), str(number), False) for number in numbers]
    draw.shuffle(terms)
    while len(terms) > 1:
        first, second = terms.pop(draw.randrange(len(terms))), terms.pop(draw.randrange(len(terms)))
        joined = _join(draw.choice("++--*/"), first, second)
        if joined is None:
            return None
        terms.append(joined)
    value, text, _ = terms[0]
    return (int(value), text) if value <= 100 else None


def _join(sign: str, first: _Term, second: _Term) -> _Term | None:
    """Return two terms joined by an operator, or None if the value is not a positive integer."""
    (a, left, left_wide), (b, right, right_wide) = first, second
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
    if value <= 0 or value.denominator > 1:
        return None
    left = f"({left})" if left_wide and sign in "*/" else left
    right = f"({right})" if (right_wide and sign != "+") or (sign == "/" and not right.isdigit()) else right
    return value, f"{left}{sign}{right}", sign in "+-"
