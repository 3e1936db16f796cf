"""Selectors as attention heads can have them: takes comparisons, returns disjoint terms, one head each.

A term is a conjunction of conditions, each a relation between an atom at the key and one at the query: one head
computes it, as the score of a pair is a sum over its conditions. "or" and "not" become several terms of which at most
one holds for a pair, so that counts and sums add up. What depends on indices alone is not attended to but known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import lcm

import numpy as np

from sayso.base.errors import UserError
from sayso.rasp.compile.domain import UNDEFINED, Apply, CompileError, Embedded, Node, Total, is_constant
from sayso.rasp.values import Value, compare, is_number

Number = int | Fraction
Relation = np.ndarray  # bool [queries, keys]
Pair = tuple[Node | None, Node | None]
"""The key's and the query's node; None = a constant."""
MOST_TERMS = 16
MOST_SUMS = 20_000
MOST_SUMMED = 1_000_000
"""Additions to find the sums of one more value."""
MOST_PAIRS = 400_000
MOST_ORDERED = 4_000
"""Rows of the largest matrix in which an order is looked for."""


@dataclass(frozen=True, eq=False)
class Term:
    """A conjunction of conditions: pair of nodes -> which of their values are related."""

    conditions: dict[Pair, Relation]

    @cached_property
    def key(self) -> tuple[object, ...]:
        """What makes two terms equal."""
        parts = ((id(key), id(query), relation.tobytes()) for (key, query), relation in self.conditions.items())
        return tuple(sorted(parts))

    def joined(self, other: "Term") -> "Term":
        """Return the conjunction of both."""
        conditions = dict(self.conditions)
        for pair, relation in other.conditions.items():
            conditions[pair] = conditions[pair] & relation if pair in conditions else relation
        return Term(conditions)


def condition(key: Node, query: Node, relation: str, index: Embedded) -> Term:
    """Return the term of one comparison. Raises `UserError` if no two of the values can be compared."""
    (keys, key_values), (queries, query_values) = _over_base(key), _over_base(query)
    if len(key_values) * len(query_values) > MOST_PAIRS:
        raise UserError(
            f"It compares {len(key_values):,} with {len(query_values):,} values; at most {MOST_PAIRS:,} pairs are "
            "compiled. A smaller --length has fewer."
        )
    related = compared(relation, key_values, query_values)
    if {keys, queries} <= {index, None}:  # all about indices is one condition
        count = len(index.values)
        return Term({(index, index): np.broadcast_to(related, (count, count)).copy()})
    return Term({(keys, queries): related})


def compared(relation: str, keys: Sequence[Value], queries: Sequence[Value]) -> Relation:
    """Return which keys have a relation to which queries, bool [queries, keys]; None has none.

    Raises `UserError` if none of them can be compared.
    """
    columns, rows = list(dict.fromkeys(keys)), list(dict.fromkeys(queries))
    found, error, compares = np.zeros((len(rows), len(columns)), dtype=bool), None, False
    for (row, query), (column, key) in product(enumerate(rows), enumerate(columns)):
        try:
            found[row, column] = compare(relation, key, query)
            compares = True
        except UserError as raised:
            error = raised
    if error is not None and not compares:
        raise error
    row_of, column_of = ({value: place for place, value in enumerate(values)} for values in (rows, columns))
    return found[np.ix_([row_of[query] for query in queries], [column_of[key] for key in keys])]


def _over_base(node: Node) -> tuple[Node | None, list[Value]]:
    """Return the node that heads read and, for each of its values, the value compared; undefined ones as None."""
    if is_constant(node):
        return None, node.values
    if node.base is None or not isinstance(node, Apply):
        return node, node.values
    codes = node.table.codes.tolist()
    return node.base, [None if code == UNDEFINED else node.values[code] for code in codes]


def inverted(term: Term) -> Term:
    """Return the complement of one comparison."""
    ((pair, relation),) = term.conditions.items()
    return Term({pair: ~relation})


def conjunction(left: Sequence[Term], right: Sequence[Term]) -> list[Term]:
    """Return the terms of what both select."""
    joined = [one.joined(other) for one in left for other in right]
    return [term for term in joined if all(relation.any() for relation in term.conditions.values())]


class Selection:
    """A selector as disjoint terms, in inputs of up to `size` positions."""

    def __init__(self, terms: Sequence[Term], index: Embedded, causal: bool, text: str) -> None:
        self.index, self.causal, self.text = index, causal, text
        self.size = len(index.known)
        self._sums: dict[Node, list[set[Number]]] = {}
        self._heads: dict[Node | None, tuple[Term, ...]] = {}
        self.visible = np.ones((self.size, self.size), dtype=bool)
        if causal:
            self.visible = np.tril(self.visible)
        self.terms = tuple(term for term in map(self._simplified, terms) if term is not None)
        if len(self.terms) > MOST_TERMS:
            raise CompileError(f"Its selector needs {len(self.terms)} heads; at most {MOST_TERMS} are compiled.", text)

    def _simplified(self, term: Term) -> Term | None:
        """Return a term without the conditions that always hold; None if one never does."""
        kept = {}
        for pair, relation in term.conditions.items():
            seen = self.visible if pair == (self.index, self.index) else True
            if not (relation & seen).any():
                return None
            if not (relation | ~np.asarray(seen)).all():
                kept[pair] = relation
        return Term(kept)

    @cached_property
    def layer(self) -> int:
        """The layer of its heads."""
        nodes = (node for term in self.terms for pair in term.conditions for node in pair if node is not None)
        return 1 + max((node.layer for node in nodes), default=0)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two selections equal."""
        return tuple(sorted(term.key for term in self.terms))

    def pairs(self, term: Term) -> Relation:
        """Return which pairs of indices [queries, keys] a term may select."""
        return self.visible & term.conditions.get((self.index, self.index), True)

    def only_indices(self, term: Term) -> bool:
        """Whether a term depends on nothing but indices."""
        return set(term.conditions) <= {(self.index, self.index)}

    def is_known(self, term: Term, source: Node | None) -> bool:
        """Whether a term gives the same total in inputs of any length: it needs no key after its query."""
        if not self.only_indices(term) or not (source is None or is_constant(source) or source.base is self.index):
            return False
        later = np.flatnonzero(np.triu(self.pairs(term), 1).any(axis=0)).tolist()
        values = self._at_index(source)
        return not any(values[key] for key in later)

    def heads(self, source: Node | None) -> tuple[Term, ...]:
        """Return the terms whose count, or sum of a source, depends on the input and takes a head."""
        if source not in self._heads:
            self._heads[source] = tuple(
                term for term in self.terms if any(self.summed(term, source)) and not self.is_known(term, source)
            )
        return self._heads[source]

    def _at_index(self, source: Node | None) -> list[Number]:
        """Return what a source that depends on nothing but the index adds to a total at each key."""
        if source is None:
            return [1] * self.size
        values = _over_base(source)[1]
        return [_number(value) for value in (values * self.size if is_constant(source) else values)]

    def summed(self, term: Term, source: Node | None) -> list[Number]:
        """Return the values of a source at the keys that a term may select, as numbers; None counts as 0."""
        if source is None:
            return [1]
        base, values = _over_base(source)
        allowed = np.ones(len(values), dtype=bool)
        for (key, _), relation in term.conditions.items():
            if key is not None and key is base:
                allowed &= relation.any(axis=0)
        return list({_number(value) for value, can_be in zip(values, allowed, strict=True) if can_be})

    def known(self, source: Node | None) -> list[Number]:
        """Return, for each index, the part of a total that is known."""
        found = np.zeros(self.size, dtype=object)
        for term in self.terms:
            if self.is_known(term, source) and any(self.summed(term, source)):
                found = found + self.pairs(term).astype(object) @ np.array(self._at_index(source), dtype=object)
        return [_number(value) for value in found]

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest count of the terms with heads at each index."""
        least = np.zeros(self.size, dtype=np.int64)
        for term in self.heads(None):
            if self.only_indices(term):
                least = least + np.tril(self.pairs(term)).sum(1)
        return least, self._most_at(self.heads(None))

    def _most_at(self, terms: Sequence[Term]) -> np.ndarray:
        """Return the largest number of positions that terms select at each index; no two select one position."""
        found = np.zeros_like(self.visible)
        for term in terms:
            found |= self.pairs(term)
        return found.sum(1)

    def most(self, terms: Sequence[Term]) -> int:
        """Return the largest number of positions that terms select."""
        return int(self._most_at(terms).max())

    def sums(self, source: Node) -> list[set[Number]]:
        """Return all sums of 0, 1, 2 ... values of a source. Raises `CompileError` for too many."""
        if source in self._sums:
            return self._sums[source]
        terms = self.heads(source)
        values = {value for term in terms for value in self.summed(term, source)}
        scale = lcm(*(value.denominator for value in values))
        whole: set[Number] = {int(value * scale) for value in values}
        found: list[set[Number]] = [{0}]
        for _ in range(self.most(terms)):
            if len(found[-1]) * len(whole) > MOST_SUMMED or len(found[-1]) > MOST_SUMS:
                raise CompileError(
                    f"Up to {self.most(terms)} of its {len(values)} values have more than {MOST_SUMS:,} sums. A "
                    "smaller --length has fewer.",
                    source.text,
                )
            found.append({total + value for total in found[-1] for value in whole})
        if scale > 1:
            found = [{_number(Fraction(total, scale)) for total in totals} for totals in found]
        self._sums[source] = found
        return self._sums[source]

    def sums_at(self, source: Node) -> list[set[Number]] | None:
        """Return all sums at each index, if the index says how many positions are selected; else None."""
        terms = self.heads(source)
        if not all(self.is_known(term, None) for term in terms):
            return None
        sums = self.sums(source)
        return [sums[count] for count in self._most_at(terms).tolist()]

    def joint(self, members: Sequence[Total]) -> list[tuple[Value, ...]]:
        """Return all combinations of totals of this selection."""
        terms = self.heads(None)
        counted = [one for one in members if one.source is not None and self.heads(one.source) == terms]
        others = [one for one in members if one.source is not None and one not in counted]
        sums = {one: self.sums(one.source) for one in (*counted, *others) if one.source is not None}
        free = [set().union(*sums[one]) for one in others]
        rows: dict[tuple[Value, ...], None] = {}
        has_count = any(one.source is None for one in members)
        for count in range(self.most(terms) + 1 if counted or has_count else 1):
            for combination in product(*(sorted(sums[one][count]) for one in counted), *map(sorted, free)):
                values = dict(zip((*counted, *others), combination, strict=True))
                rows[tuple(values.get(one, count) for one in members)] = None
        return list(rows)

    def selects_at_most_one(self) -> bool:
        """Whether it provably selects at most one position: by index, by rank, or by a place in an order."""
        rows = np.zeros(self.size, dtype=np.int64)
        for term in self.terms:
            rows = rows + self.pairs(term).sum(1)
        if rows.max(initial=0) <= 1:
            return True
        if len(self.terms) != 1:
            return False
        term = _spelled_out(self.terms[0])
        return any(
            relation.sum(1).max() <= 1 and (key is self.index or (key is not None and _ranks(key, term)))
            for (key, _), relation in term.conditions.items()
        )

    def is_order(self) -> bool:
        """Whether of any two different positions exactly one selects the other, and they are in one order.

        This is checked on all pairs of what the terms compare.
        """
        atoms = list({node for term in self.terms for pair in term.conditions for node in pair})
        if None in atoms or self.index not in atoms or any(key is not query for term in self.terms
                                                           for key, query in term.conditions):  # fmt: skip
            return False
        nodes = [node for node in atoms if node is not None]
        grid = np.indices([len(node.values) for node in nodes]).reshape(len(nodes), -1)
        if grid.shape[1] > MOST_ORDERED:
            return False
        before = np.zeros((grid.shape[1], grid.shape[1]), dtype=bool)
        for term in self.terms:
            holds = np.ones_like(before)
            for (key, _), relation in term.conditions.items():
                column = grid[nodes.index(key)]  # type: ignore[arg-type]
                holds &= relation[np.ix_(column, column)]
            before |= holds
        place = before.sum(1)
        return len(np.unique(place)) == len(place) and bool((before == (place[None, :] < place[:, None])).all())


def _spelled_out(term: Term) -> Term:
    """Return a term with what its conditions on a function of several atoms say about each of them."""
    for (key, query), relation in list(term.conditions.items()):
        if not isinstance(key, Apply) or query is not None:
            continue
        table = key.table
        holds = (table.codes != UNDEFINED) & relation[0][table.codes]
        for slot, (codes, values) in table.columns.items():
            found = {values[code] for code in np.unique(codes[holds])}
            term = term.joined(Term({(slot, None): np.array([[value in found for value in slot.values]])}))
    return term


def _ranks(key: Node, term: Term) -> bool:
    """Whether a key counts earlier positions of the same kind, so that those of one kind have different ranks.

    The kinds are compared by conditions of the term, which must include all that are counted by.
    """
    if not isinstance(key, Total) or key.source is not None or len(key.selection.terms) != 1:
        return False
    if key.selection.is_order():
        return True
    selection, (counted,) = key.selection, key.selection.terms
    order = counted.conditions.get((selection.index, selection.index))
    size = selection.size
    if order is None and selection.causal:
        order = selection.visible
    if order is None or not any(
        np.array_equal(order & selection.visible, np.tri(size, size, k, dtype=bool)) for k in (0, -1)
    ):
        return False
    for pair, relation in counted.conditions.items():
        if pair == (selection.index, selection.index):
            continue
        same_kind = pair[1] is None or (pair[0] is pair[1] and _is_equality(relation))
        if not (same_kind and pair in term.conditions and not (term.conditions[pair] & ~relation).any()):
            return False
    return True


def _is_equality(relation: Relation) -> bool:
    """Whether a relation of a node to itself holds for values of one class: reflexive, symmetric, transitive."""
    related = relation | np.eye(len(relation), dtype=bool)
    return np.array_equal(related, related.T) and np.array_equal(related @ related, related)


def _number(value: Value) -> Number:
    assert value is None or isinstance(value, bool) or is_number(value)
    number = Fraction(value or 0)
    return int(number) if number.denominator == 1 else number
