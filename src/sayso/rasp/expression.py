"""The graph of a RASP program: s-ops, which give a value per position, and selectors, which give a row of booleans.

`tokens`, `indices` and `length` are the beginning; operators and the functions below build the rest. An expression is
immutable and compared by identity, as `==` builds another one; what two expressions share is computed once. Source:
Weiss, Goldberg and Yahav, "Thinking Like Transformers", 2021.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, NoReturn

from sayso.base.errors import UserError, nearest
from sayso.rasp.values import RELATIONS, Value, exact

Kind = Literal["asis", "str", "int", "float", "bool"]
How = Literal["mean", "max", "min"]


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A node of the graph."""

    @property
    def inputs(self) -> tuple["Expression", ...]:
        """The expressions that this one is computed from."""
        return ()

    def __str__(self) -> str:
        from sayso.rasp.notation import notation  # which knows every class here

        return notation(self)

    __repr__ = __str__

    def __bool__(self) -> NoReturn:
        raise UserError(
            f"{self} has no truth value before it runs on an input; write & for and, | for or, ~ for not, where() for "
            "if, and x.is_in() for in."
        )

    __iter__ = None  # it has no length, so that Python would index it forever


@dataclass(frozen=True, eq=False, repr=False)
class SOp(Expression):
    """A sequence operation: a value at each position."""

    def __add__(self, other: object) -> "SOp":
        return elementwise("+", self, other)

    def __radd__(self, other: object) -> "SOp":
        return elementwise("+", other, self)

    def __sub__(self, other: object) -> "SOp":
        return elementwise("-", self, other)

    def __rsub__(self, other: object) -> "SOp":
        return elementwise("-", other, self)

    def __mul__(self, other: object) -> "SOp":
        return elementwise("*", self, other)

    def __rmul__(self, other: object) -> "SOp":
        return elementwise("*", other, self)

    def __truediv__(self, other: object) -> "SOp":
        return elementwise("/", self, other)

    def __rtruediv__(self, other: object) -> "SOp":
        return elementwise("/", other, self)

    def __mod__(self, other: object) -> "SOp":
        return elementwise("%", self, other)

    def __rmod__(self, other: object) -> "SOp":
        return elementwise("%", other, self)

    def __pow__(self, other: object) -> "SOp":
        return elementwise("^", self, other)

    def __rpow__(self, other: object) -> "SOp":
        return elementwise("^", other, self)

    def __eq__(self, other: object) -> "SOp":  # type: ignore[override]
        return elementwise("==", self, other)

    def __ne__(self, other: object) -> "SOp":  # type: ignore[override]
        return elementwise("!=", self, other)

    def __lt__(self, other: object) -> "SOp":
        return elementwise("<", self, other)

    def __le__(self, other: object) -> "SOp":
        return elementwise("<=", self, other)

    def __gt__(self, other: object) -> "SOp":
        return elementwise(">", self, other)

    def __ge__(self, other: object) -> "SOp":
        return elementwise(">=", self, other)

    def __and__(self, other: object) -> "SOp":
        return elementwise("and", self, other)

    def __rand__(self, other: object) -> "SOp":
        return elementwise("and", other, self)

    def __or__(self, other: object) -> "SOp":
        return elementwise("or", self, other)

    def __ror__(self, other: object) -> "SOp":
        return elementwise("or", other, self)

    def __invert__(self) -> "SOp":
        return elementwise("not", self)

    def __neg__(self) -> "SOp":
        return elementwise("negate", self)

    def __round__(self) -> "SOp":
        return elementwise("round", self)

    def __getitem__(self, position: int) -> "SOp":
        """Return the value at one position, from the end if negative, at every position."""
        if not isinstance(position, int) or isinstance(position, bool):
            raise UserError(f"An s-op is indexed with an integer, such as tokens[0]; got {position}.")
        place = position if position >= 0 else length + position
        return aggregate(select(indices, place, "=="), self)

    def __contains__(self, member: object) -> NoReturn:
        raise UserError(f"Write contains({self}, {member!r}); Python's 'in' cannot give an s-op.")

    def is_in(self, members: Iterable[object]) -> "SOp":
        """Return whether the value at each position is one of the members, which may be s-ops."""
        found = list(members)
        if any(isinstance(one, SOp) for one in found):
            return reduce(lambda left, right: left | right, (self == one for one in found))
        return Member(tuple(exact(one) for one in found), self)

    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False, repr=False)
class Tokens(SOp):
    """The input, as it is or converted to one type."""

    kind: Kind = "asis"


@dataclass(frozen=True, eq=False, repr=False)
class Indices(SOp):
    """The number of each position, from 0."""


@dataclass(frozen=True, eq=False, repr=False)
class Length(SOp):
    """How many positions each position can see: all, or those up to itself in the causal dialect."""


@dataclass(frozen=True, eq=False, repr=False)
class Constant(SOp):
    """The same value at every position."""

    value: Value


@dataclass(frozen=True, eq=False, repr=False)
class Map(SOp):
    """An operation of `values.OPERATIONS`, or "if", on the values at each position."""

    operation: str
    arguments: tuple[SOp, ...]

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The operands."""
        return self.arguments


@dataclass(frozen=True, eq=False, repr=False)
class Member(SOp):
    """Whether the value at each position is one of several constants."""

    members: tuple[Value, ...]
    value: SOp

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The values."""
        return (self.value,)


@dataclass(frozen=True, eq=False, repr=False)
class Lookup(SOp):
    """The entry of a table for the value at each position."""

    table: tuple[tuple[Value, Value], ...]
    key: SOp

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The keys."""
        return (self.key,)


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate(SOp):
    """The mean, largest or smallest of the values that a selector selects at each position, or a default for none."""

    selector: "Selector"
    values: SOp
    default: Value = None
    how: How = "mean"

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The selector and the values."""
        return (self.selector, self.values)


@dataclass(frozen=True, eq=False, repr=False)
class SelectorWidth(SOp):
    """The number of positions that a selector selects at each position."""

    selector: "Selector"

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The selector."""
        return (self.selector,)


@dataclass(frozen=True, eq=False, repr=False)
class Selector(Expression):
    """Which positions (keys, columns) each position (query, row) selects."""

    def __and__(self, other: object) -> "Selector":
        return _combined("and", self, other)

    def __or__(self, other: object) -> "Selector":
        return _combined("or", self, other)

    def __invert__(self) -> "Selector":
        return Combined("not", (self,))


@dataclass(frozen=True, eq=False, repr=False)
class Select(Selector):
    """A selection by comparing the key at a column with the query at a row."""

    key: SOp
    query: SOp
    relation: str

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The keys and the queries."""
        return (self.key, self.query)


@dataclass(frozen=True, eq=False, repr=False)
class Combined(Selector):
    """Selectors combined by "and", "or" or "not", element by element."""

    operation: str
    arguments: tuple[Selector, ...]

    @property
    def inputs(self) -> tuple[Expression, ...]:
        """The operands."""
        return self.arguments


tokens = Tokens()
indices = Indices()
length = Length()


def sop(value: object) -> SOp:
    """Return an s-op as it is, and a constant as the s-op with this value everywhere.

    Raises `UserError` for anything else.
    """
    if isinstance(value, Selector):
        raise UserError(f"An s-op or a constant is needed here; got the selector {value}.")
    return value if isinstance(value, SOp) else Constant(exact(value))


def elementwise(operation: str, *arguments: object) -> SOp:
    """Return an operation on the values at each position."""
    return Map(operation, tuple(map(sop, arguments)))


def where(condition: object, chosen: object, other: object) -> SOp:
    """Return, at each position, one of two values: `chosen if condition else other`."""
    return elementwise("if", chosen, condition, other)


def indicator(condition: object) -> SOp:
    """Return 1 where a condition holds, else 0."""
    return elementwise("indicator", condition)


def lookup(table: Mapping[Any, object] | Sequence[object], key: object) -> SOp:
    """Return the entry of a dict, list or string for the value at each position."""
    pairs = table.items() if isinstance(table, Mapping) else enumerate(table)
    return Lookup(tuple((exact(name), exact(value)) for name, value in pairs), sop(key))


def select(key: object, query: object, relation: str = "==") -> Selector:
    """Return the selector that relates keys (columns) to queries (rows): ==, !=, <, <=, > or >=."""
    if relation not in RELATIONS:
        raise UserError(
            f"A selector compares with one of {', '.join(RELATIONS)}; got '{relation}'.{nearest(relation, RELATIONS)}"
        )
    return Select(sop(key), sop(query), relation)


def aggregate(selector: Selector, values: object, default: object = None, how: How = "mean") -> SOp:
    """Return the mean of the selected values at each position, `default` where none is selected.

    "max" and "min" need the causal dialect. Values that are not numbers need a selector of at most one position.
    """
    if how not in ("mean", "max", "min"):
        raise UserError(f"aggregate takes the mean, max or min; got '{how}'.{nearest(how, ('mean', 'max', 'min'))}")
    return Aggregate(_selector(selector), sop(values), exact(default), how)


def selector_width(selector: Selector) -> SOp:
    """Return the number of positions selected at each position."""
    return SelectorWidth(_selector(selector))


def contains(values: SOp, member: object) -> SOp:
    """Return whether a value occurs at any position."""
    return aggregate(select(1, 1, "=="), indicator(values == member)) > 0


def ordered(program: Expression) -> list[Expression]:
    """Return an expression and everything that it is computed from, each once, inputs first."""
    done: dict[Expression, None] = {}
    waiting: list[tuple[Expression, bool]] = [(program, False)]
    while waiting:  # no recursion: a loop can make a chain of any length
        one, ready = waiting.pop()
        if ready:
            done[one] = None
        elif one not in done:
            waiting.append((one, True))
            waiting.extend((parent, False) for parent in reversed(one.inputs) if parent not in done)
    return list(done)


def _selector(value: object) -> Selector:
    if not isinstance(value, Selector):
        raise UserError(f"A selector is needed here, such as select(tokens, tokens, ==); got {value}.")
    return value


def _combined(operation: str, left: Selector, right: object) -> Selector:
    if not isinstance(right, Selector):
        raise UserError(f"'{operation}' needs two selectors or none; got the selector {left} and {right}.")
    return Combined(operation, (left, right))
