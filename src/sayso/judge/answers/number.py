"""The final number of a worked answer, and its score on GSM8K (Cobbe et al. 2021, arXiv 2110.14168).

A reference ends with `#### 1,234`. Three scores differ in what they forgive: the first two compare text and follow the
filters `strict-match` and `flexible-extract` of EleutherAI's evaluation harness, so that figures can be compared with
published ones; the third compares values.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from sayso.base.errors import UserError

MARK = "#### "
MARKED = re.compile(MARK + r"(-?[\d.,]+)", re.ASCII)
LOOSE = re.compile(r"-?[$\d.,]{2,}|-?\d+", re.ASCII)
NUMBER = re.compile(r"(?<![\w.])(?:[-−]\$?|\$[-−]?)?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.\d+)?(?!\d)", re.ASCII)


@dataclass(frozen=True)
class NumberScore:
    """Whether a reply gives the right number, by each rule."""

    strict: bool
    """The first number after `#### ` is written like the reference."""
    flexible: bool
    """The last number anywhere is written like the reference."""
    value: bool
    """The last number anywhere has the reference's value: 18 and 18.00 agree."""


def gsm8k(reply: str, reference: str) -> NumberScore:
    """Score a reply against a reference, a worked solution with the mark `#### ` or its number alone.

    Raises `UserError` if the reference holds no number.
    """
    right = last_number(reference)
    if right is None:
        raise UserError(f"A reference answer ends with a number, such as '#### 18'; this one has none: {reference!r}.")
    written = plain(reference)
    strict, flexible = strict_number(reply), flexible_number(reply)
    return NumberScore(
        strict is not None and plain(strict) == written,
        flexible is not None and plain(flexible) == written,
        last_number(reply) == right,
    )


def strict_number(reply: str) -> str | None:
    """Return the first number after the mark `#### `, as written; None if there is none."""
    found = MARKED.search(reply)
    return found[1] if found else None


def flexible_number(reply: str) -> str | None:
    """Return the last run of digits, `$`, `.` and `,`, as written; None if there is none.

    A run of two or more signs needs no digit, so a reply that ends with "..." has the number "...".
    """
    found = LOOSE.findall(reply)
    return found[-1] if found else None


def last_number(text: str) -> Decimal | None:
    """Return the value of the last number: with thousands commas, a dollar or percent sign, a minus, decimals."""
    found = NUMBER.findall(text)
    return Decimal(re.sub(r"[$,]", "", found[-1]).replace("−", "-")) if found else None


def plain(number: str) -> str:
    """Return a number as it is compared by text: what follows the last mark, without commas, `$` and a final period."""
    return re.sub(r"\.$", "", re.sub("[,$]", "", number).rpartition(MARK)[2]).lower()
