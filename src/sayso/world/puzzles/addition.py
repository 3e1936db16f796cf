"""Reversed addition: two numbers and their sum, each written from its last digit to its first.

`21+43=` asks for 12 + 34, and the reply is `64`. In this order, each digit of the sum follows from the digits before,
so that a small model can learn it (Lee et al. 2023, "Teaching arithmetic to small transformers"). With a `field`, every
number is padded to the same width, `21..+43..=`: digits of equal place value are then always the same distance apart,
so that what was learned on short numbers may generalize to longer ones.
"""

from collections.abc import Mapping
from typing import Any

from sayso.base.errors import UserError

from .draw import generator, problem_split
from .types import Problem


def addition_problem(seed: int, index: int, split: str, size: int, field: int = 0) -> Problem:
    """Return the sum of two numbers of `size` digits each, padded to `field` places (0 = no padding).

    A pair of numbers, in either order, belongs to one split.
    """
    if size < 1 or 0 < field < size:
        raise UserError(
            f"Addition needs numbers of at least 1 digit that fit the field; got {size} digits and {field} places."
        )
    draw = generator(seed, index, split, "addition", size)
    least = 10 ** (size - 1) if size > 1 else 0
    while True:
        first, second = (draw.randrange(least, 10**size) for _ in "ab")
        if problem_split("addition", *sorted((first, second))) == split:
            break
    left, right = (reverse(number).ljust(field, ".") for number in (first, second))
    prompt, answer = f"{left}+{right}=", reverse(first + second)
    return Problem(prompt, answer, {"puzzle": "addition", "answer": answer, "digits": size})


def addition_score(_prompt: object, reply: str, info: Mapping[str, Any]) -> float:
    """Return 1 for exactly the digits of the sum, else 0."""
    return float(reply.strip() == info["answer"])


def digits(_prompt: object, reply: str, info: Mapping[str, Any]) -> float:
    """Return the share of digits that are right, each at its place; extra and missing digits count as wrong."""
    answer, reply = info["answer"], reply.strip()
    return sum(a == b for a, b in zip(answer, reply, strict=False)) / max(len(answer), len(reply))


def reverse(number: int) -> str:
    """Return a number from its last digit to its first."""
    return str(number)[::-1]
