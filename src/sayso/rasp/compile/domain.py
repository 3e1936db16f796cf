"""What an expression can be: takes nodes, returns every value that they can have together.

A compiled program is a graph of few kinds of nodes. *Atoms* are what the embedding and the attention heads deliver at
a position: the token, the index, a copied value, and totals (counts and sums of what a selector selects). All else is
a function of atoms, which a feed-forward layer computes at once, however many operations it has. Its value set is its
image on the joint domain of its atoms, so that it is exact where atoms depend on each other: a mean is the sum over
the count, and its values are all k/n.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from sayso.base.errors import UserError
from sayso.rasp.values import Value

if TYPE_CHECKING:
    from sayso.rasp.compile.selection import Selection

Codes = np.ndarray  # of int64
Column = tuple[Codes, list[Value]]
"""A code for each combination, and the values that codes index."""
MOST_COMBINATIONS = 400_000
UNDEFINED = -1
"""The code of a combination for which the interpreter raises an error: an input that has it is not in the contract."""


class CompileError(UserError):
    """An expression that cannot be compiled, and why."""

    def __init__(self, reason: str, expression: object) -> None:
        super().__init__(f"{reason} This happens in {expression}.")
        self.reason, self.expression = reason, expression


@dataclass(frozen=True, eq=False)
class Node:
    """A value at each position; `text` is how the program writes it."""

    text: str

    @property
    def values(self) -> list[Value]:
        """Every value that it can have."""
        raise NotImplementedError

    @property
    def layer(self) -> int:
        """The layer after whose feed-forward part any function of it can be read; 0 = the embedding."""
        raise NotImplementedError

    @property
    def base(self) -> "Node | None":
        """The one atom that it is a function of, if any function of that atom can be had without a further step."""
        return None


@dataclass(frozen=True, eq=False)
class Embedded(Node):
    """The token or the index: an atom of the embedding."""

    known: tuple[Value, ...]

    @property
    def values(self) -> list[Value]:
        """The alphabet, or the indices."""
        return list(self.known)

    @property
    def layer(self) -> int:
        """The embedding."""
        return 0

    @property
    def base(self) -> Node:
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class Copied(Node):
    """The value at the one position that is selected, or a default; with ranks, that of the highest rank."""

    selection: "Selection"
    source: Node
    default: Value
    how: str = "mean"

    @cached_property
    def values(self) -> list[Value]:
        """Those of the source, and the default."""
        found = self.source.values
        return found if self.default in found else [*found, self.default]

    @property
    def layer(self) -> int:
        """That of the head."""
        return max(self.selection.layer, self.source.layer + 1)

    @property
    def base(self) -> Node:
        """Itself: a function of a copy is a copy of a function."""
        return self


@dataclass(frozen=True, eq=False)
class Total(Node):
    """How many positions are selected, or the sum of a number over them, known only as a number in the residual."""

    selection: "Selection"
    source: Node | None
    """What is summed; None = 1 for each."""

    @cached_property
    def values(self) -> list[Value]:
        """All counts, or all sums of up to the largest count of values."""
        return sorted({row[0] for row in self.selection.joint((self,))})  # type: ignore[type-var]

    @property
    def layer(self) -> int:
        """That of the heads."""
        return self.selection.layer if self.source is None else max(self.selection.layer, self.source.layer + 1)


@dataclass(frozen=True, eq=False)
class Apply(Node):
    """A function of other nodes. With `split`, they are computed by an earlier layer, so that few combine."""

    function: Callable[..., Value]
    arguments: tuple[Node, ...]
    split: bool = False

    @cached_property
    def base(self) -> Node | None:
        """The only atom, unless it is a total."""
        bases = {argument.base for argument in self.arguments if not is_constant(argument)}
        return next(iter(bases)) if len(bases) == 1 else None

    @cached_property
    def layer(self) -> int:
        """The last of its atoms'; a function of both token and index takes the first layer."""
        if self.base is not None:
            return self.base.layer
        last = max((argument.layer for argument in self.arguments), default=0)
        return last + 1 if self.split else max(last, 1 if self.arguments else 0)

    @cached_property
    def slots(self) -> tuple[Node, ...]:
        """What it is computed from at its layer: atoms, and nodes of which earlier layers compute any function."""
        found: dict[Node, None] = {}

        def visit(node: Node) -> None:
            if is_constant(node):
                return
            if node.base is not None or isinstance(node, Total):
                found[node.base or node] = None
            elif node is not self and node.layer < self.layer:
                found[node] = None
            else:
                assert isinstance(node, Apply)
                for argument in node.arguments:
                    visit(argument)

        if self.base is not None:
            return (self.base,)
        visit(self)
        return tuple(found)

    @cached_property
    def table(self) -> "Table":
        """Its value for each combination of its slots'."""
        return Table(self)

    @property
    def values(self) -> list[Value]:
        """The image of the table."""
        return self.table.values


def is_constant(node: Node) -> bool:
    """Whether a node has one value, everywhere."""
    return isinstance(node, Apply) and not node.arguments


def constant(value: Value, text: str) -> Apply:
    """Return the node of a constant."""
    return Apply(text, lambda: value, ())


class Table:
    """A function on the joint domain of its slots: `columns` and `codes` index values, a row per combination."""

    def __init__(self, node: Apply) -> None:
        self.node = node
        slots = node.slots
        self.columns = joint_domain(slots, node.text)
        """slot -> (codes [D], values)"""
        self.size = len(next(iter(self.columns.values()))[0]) if slots else 1
        self._known: dict[Node, Column] = dict(self.columns)
        self._error: UserError | None = None
        codes, values = self._evaluated(node)
        used = np.unique(codes[codes != UNDEFINED])
        if not len(used):
            raise CompileError(f"It has no value for any input: {self._error}", node.text)
        renumbered = np.full(len(values) + 1, UNDEFINED)
        renumbered[used] = np.arange(len(used))
        self.codes: Codes = renumbered[codes]
        self.values: list[Value] = [values[code] for code in used]

    def _evaluated(self, node: Node) -> Column:
        if node not in self._known:
            assert isinstance(node, Apply)
            self._known[node] = self._applied(node.function, [self._evaluated(one) for one in node.arguments])
        return self._known[node]

    def _applied(self, function: Callable[..., Value], parts: Sequence[Column]) -> Column:
        """Return a function of columns, called once for each different combination."""
        combined, missing = np.zeros(self.size, dtype=np.int64), np.zeros(self.size, dtype=bool)
        for codes, values in parts:
            combined = combined * (len(values) + 1) + codes
            missing |= codes == UNDEFINED
        unique, where = np.unique(np.where(missing, UNDEFINED, combined), return_inverse=True)
        table: dict[tuple[type, Value], int] = {}
        found = np.full(len(unique), UNDEFINED)
        for place, code in enumerate(unique.tolist()):
            if code == UNDEFINED:
                continue
            arguments: list[Value] = []
            for _, values in reversed(parts):
                code, one = divmod(code, len(values) + 1)
                arguments.append(values[one])
            try:
                value = function(*reversed(arguments))
            except UserError as error:
                self._error = self._error or error
                continue
            found[place] = table.setdefault((type(value), value), len(table))
        return found[where.reshape(-1)], [value for _, value in table]


def joint_domain(slots: Sequence[Node], text: str) -> dict[Node, Column]:
    """Return all combinations of values of nodes, as a column of codes and the values for each.

    Totals of one selection depend on each other, and on the index. Raises `CompileError` for too many combinations.
    """
    groups = list(_groups(slots))
    sizes = [len(rows) for _, rows in groups]
    if prod(sizes) > MOST_COMBINATIONS:
        parts = " x ".join(f"{size:,} of {' and '.join(dict.fromkeys(node.text for node in nodes))}"
                           for (nodes, _), size in zip(groups, sizes, strict=True))  # fmt: skip
        raise CompileError(
            f"It depends on {prod(sizes):,} combinations of values ({parts}); at most {MOST_COMBINATIONS:,} can be "
            "compiled. A smaller --length or --alphabet has fewer.",
            text,
        )
    columns: dict[Node, Column] = {}
    grid = np.indices(sizes).reshape(len(sizes), -1) if sizes else np.zeros((0, 1), dtype=np.int64)
    for places, (nodes, rows) in zip(grid, groups, strict=True):
        for column, node in enumerate(nodes):
            typed = [(type(row[column]), row[column]) for row in rows]  # 1, True and the fraction 1 are three values
            number = {key: code for code, key in enumerate(dict.fromkeys(typed))}
            columns[node] = np.array([number[key] for key in typed])[places], [value for _, value in number]
    possible = _possible(columns)
    return {node: (codes[possible], values) for node, (codes, values) in columns.items()}


def _groups(slots: Sequence[Node]) -> Iterator[tuple[tuple[Node, ...], list[tuple[Value, ...]]]]:
    """Yield the nodes that depend on each other, and the combinations of their values."""
    done: set[Node] = set()
    for node in slots:
        if isinstance(node, Total) and node not in done:
            members = tuple(one for one in slots if isinstance(one, Total) and one.selection is node.selection)
            done |= set(members)
            yield members, node.selection.joint(members)
        elif node not in done:
            yield (node,), [(value,) for value in node.values]


def _possible(columns: dict[Node, Column]) -> np.ndarray:
    """Return which combinations of the index and of totals can be: a count has bounds at each index, and so a sum."""
    size = len(next(iter(columns.values()))[0]) if columns else 1
    possible = np.ones(size, dtype=bool)
    for node, (codes, values) in columns.items():
        if not isinstance(node, Total) or node.selection.index not in columns:
            continue
        places = columns[node.selection.index][0]
        if node.source is None:
            counts = np.array(values, dtype=np.int64)[codes]
            least, most = node.selection.bounds
            possible &= (counts >= least[places]) & (counts <= most[places])
        elif (known := node.selection.sums_at(node.source)) is not None:
            allowed = np.array([[value in sums for value in values] for sums in known])
            possible &= allowed[places, codes]
    return possible
