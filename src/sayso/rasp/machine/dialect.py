"""The next-token dialect: streams of integers, one per position, of which each becomes a part of a layer.

A stream is a field of the token, the position, a sum of others, a product relu(gate) * value (a hidden unit), a
cumulative sum, or a lookup: the value at the earlier position, or this one, whose key is nearest to a query. All are
causal, and none needs more of the past than two-dimensional keys: (2 q, 1) . (k, -k^2) = q^2 - (q - k)^2 is largest
for the key that is nearest to q.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sayso.base.errors import UserError


@dataclass(frozen=True, eq=False)
class Stream:
    """An integer at each position."""

    def __add__(self, other: "Stream | int") -> "Stream":
        return combine((self, 1), (other, 1))

    __radd__ = __add__

    def __sub__(self, other: "Stream | int") -> "Stream":
        return combine((self, 1), (other, -1))

    def __rsub__(self, other: "Stream | int") -> "Stream":
        return combine((other, 1), (self, -1))

    def __mul__(self, factor: int) -> "Stream":
        if not isinstance(factor, int):
            raise UserError(f"A stream is multiplied by an integer; write gated(flag, x) for a product; got {factor}.")
        return combine((self, factor))

    __rmul__ = __mul__

    def __neg__(self) -> "Stream":
        return self * -1


@dataclass(frozen=True, eq=False)
class Field(Stream):
    """A number that each token of the vocabulary has."""

    name: str


@dataclass(frozen=True, eq=False)
class Position(Stream):
    """The number of the position from 0, or its square."""

    squared: bool = False


@dataclass(frozen=True, eq=False)
class Sum(Stream):
    """A sum of other kinds of streams, each times an integer, and a constant."""

    terms: Mapping[Stream, int]
    constant: int = 0


@dataclass(frozen=True, eq=False)
class Gated(Stream):
    """max(gate, 0) * value."""

    gate: Stream
    value: Stream


@dataclass(frozen=True, eq=False)
class Total(Stream):
    """The sum of a stream over all positions up to this one."""

    values: Stream


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of lookups: a stream and its square."""

    key: Stream
    squared: Stream

    def at(self, query: Stream, *values: Stream) -> "tuple[Lookup, ...]":
        """Return streams looked up by one head: each value where the key, at this position or before, is nearest.

        Of several nearest keys the larger one wins, and of several positions with that key, the latest.
        """
        head = Head(self, query)
        return tuple(Lookup(head, value) for value in values)


@dataclass(frozen=True, eq=False)
class Head:
    """What lookups of several values at one key share."""

    keys: Keys
    query: Stream


@dataclass(frozen=True, eq=False)
class Lookup(Stream):
    """A value where a head looks."""

    head: Head
    value: Stream


@dataclass(frozen=True)
class Vocabulary:
    """The tokens and their fields; a field that a token does not name is 0."""

    tokens: Mapping[str, Mapping[str, int]]
    ids: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {name: index for index, name in enumerate(self.tokens)})

    @property
    def fields(self) -> list[str]:
        """The names of all fields."""
        return list(dict.fromkeys(name for fields in self.tokens.values() for name in fields))

    def column(self, name: str) -> list[int]:
        """Return a field of each token."""
        return [fields.get(name, 0) for fields in self.tokens.values()]


@dataclass(frozen=True)
class NextToken:
    """A program: the next token is the one whose fields are nearest to what is computed for them."""

    vocabulary: Vocabulary
    fields: Mapping[str, Stream]


ONE = Sum({}, 1)
position = Position()


def combine(*parts: tuple[Stream | int, int]) -> Stream:
    """Return the sum of streams and numbers, each times a factor."""
    terms: dict[Stream, int] = {}
    constant = 0
    for part, factor in parts:
        inner, more = split(part)
        constant += factor * more
        for one, times in inner.items():
            terms[one] = terms.get(one, 0) + factor * times
    return Sum({one: times for one, times in terms.items() if times}, constant)


def split(x: Stream | int) -> tuple[Mapping[Stream, int], int]:
    """Return a stream as terms that are no sums, with their factors, and a constant."""
    if isinstance(x, int):
        return {}, x
    if not isinstance(x, Stream):
        raise UserError(f"A stream is added to streams and integers; got {x!r}.")
    return (x.terms, x.constant) if isinstance(x, Sum) else ({x: 1}, 0)


def gated(flag: Stream, value: Stream | int) -> Stream:
    """Return a value where a flag is 1, and 0 where it is 0."""
    return Gated(flag, combine((value, 1)))


def relu(x: Stream) -> Stream:
    """Return the positive part."""
    return Gated(x, ONE)


def square(x: Stream) -> Stream:
    """Return the square."""
    return Position(squared=True) if x is position else Gated(x, x) + Gated(-x, -x)


def at_least(x: Stream, least: int) -> Stream:
    """Return 1 where a stream is at least a number, else 0."""
    return relu(x - (least - 1)) - relu(x - least)


def equals(x: Stream, number: int) -> Stream:
    """Return 1 where a stream is a number, else 0."""
    return relu(x - (number - 1)) - 2 * relu(x - number) + relu(x - (number + 1))


def where(flag: Stream, chosen: Stream | int, other: Stream | int) -> Stream:
    """Return one value where a flag is 1, and another one where it is 0."""
    return gated(flag, combine((chosen, 1), (other, -1))) + other


def total(x: Stream) -> Stream:
    """Return the cumulative sum, this position included."""
    return Total(x)


def keys(x: Stream) -> Keys:
    """Return a stream as keys of lookups."""
    return Keys(x, square(x))


def inputs(x: Stream) -> tuple[Stream, ...]:
    """Return the streams that one is computed from."""
    match x:
        case Sum(terms):
            return tuple(terms)
        case Gated(gate, value):
            return gate, value
        case Total(values):
            return (values,)
        case Lookup(head, value):
            return head.keys.key, head.keys.squared, head.query, value
    return ()
