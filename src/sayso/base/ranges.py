"""The range of every numeric option: declared once, in the type of its field, and checked by one function.

A dataclass of options derives from `Options` and annotates its numbers, `rows: Positive = 16`. A value outside its
range raises `UserError`, whether it comes from a flag, the environment, a TOML file or Python.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from sayso.base.errors import UserError

LARGEST = 2**63 - 1  # the largest integer of torch, NumPy and SQL databases
HUGE = 1e12  # far beyond any sensible value, and still finite after a multiplication


@dataclass(frozen=True)
class Range:
    """The range of an option; `above` and `below` exclude the ends."""

    least: float
    most: float
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number is in the range; NaN never is."""
        low = value > self.least if self.above else value >= self.least
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        """The rule in words: "at least 1", "from 0 to 1", "above 0 and at most 1"."""
        if self.most in (LARGEST, HUGE):
            if self.least == -HUGE:
                return "a finite number"
            return f"above {_shown(self.least)}" if self.above else f"at least {_shown(self.least)}"
        return self.both_ends

    @property
    def both_ends(self) -> str:
        """The rule with both ends."""
        low, high = _shown(self.least), _shown(self.most)
        if self.above:
            return f"above {low} and {'below' if self.below else 'at most'} {high}"
        return f"from {low} to {'below ' if self.below else ''}{high}"


# integers
Positive = Annotated[int, Range(1, LARGEST)]
Count = Annotated[int, Range(0, LARGEST)]
Seed = Annotated[int, Range(0, LARGEST)]
Port = Annotated[int, Range(0, 65_535)]
Amount = Annotated[int, Range(0, 10**5)]
"""Number of things held in memory; 0 for none."""
Several = Annotated[int, Range(1, 10**5)]
"""Number of things done or held together."""
Repeats = Annotated[int, Range(0, 1000)]
Questions = Annotated[int, Range(0, 10_000)]
Replies = Annotated[int, Range(1, 4096)]
"""Number of replies per prompt."""
Processes = Annotated[int, Range(1, 1024)]
Rows = Annotated[int, Range(1, 2**20)]
Tokens = Annotated[int, Range(2, 2**24)]
"""Length of a text: at least one token to read and one to predict."""
Width = Annotated[int, Range(1, 2**20)]
Depth = Annotated[int, Range(1, 1024)]
# real numbers
Finite = Annotated[float, Range(-HUGE, HUGE)]
Weight = Annotated[float, Range(0, HUGE)]
Scale = Annotated[float, Range(0, HUGE, above=True)]
Epochs = Annotated[float, Range(0, 10**6, above=True)]
Minutes = Annotated[float, Range(0, 10**7, above=True)]
Share = Annotated[float, Range(0, 1)]
SecondShare = Annotated[float, Range(0, 0.9)]
"""Share of a second kind of data in every batch."""
PartOf = Annotated[float, Range(0, 1, below=True)]
"""A share below 1."""
Mass = Annotated[float, Range(0, 1, above=True)]
"""A share above 0."""


class Options:
    """Base class of all option dataclasses: every instance is valid."""

    def __post_init__(self) -> None:
        """Check every number, and that the life is a folder. Raises `UserError` for the first invalid value."""
        check_ranges(self)
        life = getattr(self, "life", None)
        for folder in (life, *life.parents) if isinstance(life, Path) else ():
            if folder.exists() and not folder.is_dir():
                raise UserError(f"--life must be a folder; '{folder}' is a file: choose another path.")


def check_ranges(options: Any, *, flags: bool = True) -> None:
    """Raise `UserError` if a numeric field of a dataclass is not a number or is outside the range of its type.

    The error names the field as a flag, or, if not `flags`, by its own name.
    """
    own: Any = type(options)
    for name, kind, limits in numbers_of(own):
        values = getattr(options, name)
        for value in values if isinstance(values, tuple | list) else (values,):
            if value is not None and limits and not isinstance(value, Path) and not _is_in(value, kind, limits):
                shown_name = f"--{name.replace('_', '-')}" if flags else name
                raise UserError(_message(options, name, shown_name, kind, limits, value))


@cache
def numbers_of(kind: type) -> tuple[tuple[str, type, Range | None], ...]:
    """Return the numeric fields of a dataclass: name, int or float, and range (None if missing, for a test)."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, *number) for field in fields(kind) for number in _numbers(hints[field.name]))


def _numbers(hint: Any, limits: Range | None = None) -> Iterator[tuple[type, Range | None]]:
    """Yield the number types in a type, with their ranges; fixed choices do not count as numbers."""
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        limits = next((extra for extra in extras if isinstance(extra, Range)), limits)
    if hint in (int, float):
        yield hint, limits
    elif get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _numbers(part, limits)


def _is_in(value: Any, kind: type, limits: Range) -> bool:
    number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return number and value in limits  # inf and nan are in no range


def _message(options: Any, name: str, shown_name: str, kind: type, limits: Range, value: Any) -> str:
    integer = " an integer," if kind is int and not isinstance(value, Integral) else ""
    rule = limits.both_ends if isinstance(value, Real) and not value <= limits.most else str(limits)
    default = next(field.default for field in fields(options) if field.name == name)
    if default is None:
        fix = f" Omit {shown_name} to have it chosen automatically."
    else:
        fix = "" if default in (MISSING, ()) else f" The default is {_typed(default)}."
    return f"{shown_name} must be{integer} {rule}; got {_typed(value)}.{fix}"


def _typed(value: Any) -> str:
    """Return a value as the user would type it; very long numbers are shortened."""
    if isinstance(value, tuple):
        return " ".join(map(_typed, value))
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
