"""Encode nodes as features: takes a node and a number for each of its values, returns where to read that number.

A feature of the token or the index is a dimension of the embedding; of a copy, a dimension that the head copies; of
anything else, the output of steps in a feed-forward layer. Conditions of a selector become features of keys and
queries. Everything is made when it is first asked for, and once.
"""

from collections.abc import Sequence
from math import ceil, log2

import numpy as np

from sayso.rasp.compile.circuit import BOS, ONE, SIZE, Architecture, Circuit, Form, Head, Unit, plus, reach, times
from sayso.rasp.compile.domain import (
    UNDEFINED,
    Apply,
    CompileError,
    Copied,
    Embedded,
    Node,
    Total,
    is_constant,
)
from sayso.rasp.compile.line import EPSILON, RISE, Line, Step, find_line, rounding
from sayso.rasp.compile.selection import Relation, Selection, Term
from sayso.rasp.values import Value, shown

LARGEST_ONE_HOT = 32
"""Values beyond which an equality or a result is encoded in bits."""
TOLERANCE = (1 - RISE) / 2 / 8
"""The part of a gap that each kind of error may take: of counts, inputs and rounding, and twice that of scores. Of what
is beside a step, a quarter or more remains."""
MOST_NOISE = 0.1
"""Largest error of a score, as a part of the slope; a half would confuse selected and not."""
CENTERING = 2 * EPSILON
"""Relative error of a product in a score that the rounding of the mean of a layer norm may make."""
COPYING = 1e-5
"""Error of a copied value, as a part of the largest but at least of 1, and as much again after a layer norm."""
MOST_UNITS = 65_536
MOST_CONDITION = 1_024


class Encoder:
    """Builds the circuit of a program's features."""

    def __init__(self, token: Embedded, index: Embedded, architecture: Architecture) -> None:
        self.token, self.index, self.architecture = token, index, architecture
        self.rounding = EPSILON * (2 if architecture.norm == "layer" else 1)
        """Relative error of what a sublayer reads: a layer norm also rounds when it subtracts the mean."""
        self.circuit = Circuit()
        if architecture.norm != "none":
            assert self.circuit.dimension("norm", 0.0) == SIZE
        self.errors: dict[int, float] = {}
        """Dimension -> bound on its error."""
        self._features: dict[tuple[Node, tuple[float, ...]], Form] = {}
        self._lines: dict[Node, Line] = {}
        self._places: dict[Node, Form] = {}
        self._units: dict[tuple[Node, Step], tuple[Unit, Unit]] = {}
        self._totals: dict[Total, int] = {}
        self._demands: dict[int, list[tuple[Total, float]]] = {}
        """Head -> its totals, and the largest of each along a line."""

    def feature(self, node: Node, numbers: Sequence[float]) -> Form:
        """Return the form of a number for each of a node's values."""
        if is_constant(node):
            return {ONE: float(numbers[0])} if numbers[0] else {}
        if isinstance(node, Apply) and node.base is not None:
            codes = node.table.codes.tolist()
            free = float(numbers[0])  # where the interpreter has no value
            return self.feature(node.base, [free if code == UNDEFINED else float(numbers[code]) for code in codes])
        first = float(numbers[0])
        scale = next((number - first for number in numbers if number != first), 0.0)
        if not scale:
            return {ONE: first} if first else {}
        shape = tuple((number - first) / scale for number in numbers)
        if (node, shape) not in self._features:
            self._features[node, shape] = self._made(node, shape)
        return plus(times(scale, self._features[node, shape]), {ONE: first})

    def _made(self, node: Node, shape: tuple[float, ...]) -> Form:
        name = _name(node, shape)
        if isinstance(node, Embedded):
            dimension = self.circuit.dimension(name, max(map(abs, shape)))
            table = self.circuit.tokens if node is self.token else self.circuit.indices
            table[dimension] = list(shape)
            return {dimension: 1.0}
        if isinstance(node, Copied):
            return self._copied(node, shape, name)
        return self._stepped(node, shape, name)

    def _copied(self, node: Copied, shape: tuple[float, ...], name: str) -> Form:
        """Return a feature of a copy: that of the source, relative to the default, which is what nothing gives."""
        default = shape[node.values.index(node.default)]
        reads = self.feature(node.source, [number - default for number in shape[: len(node.source.values)]])
        dimension = self.circuit.dimension(name, max(abs(number - default) for number in shape))
        for term in node.selection.terms:
            head = self.head(node.selection, term, node.layer, copied=node)
            head.outputs[dimension] = reads
        self.errors[dimension] = self.error(reads) + self._copying(node, dimension, reads)
        return plus({dimension: 1.0}, {ONE: default})

    def _copying(self, node: Copied, dimension: int, reads: Form) -> float:
        """Return a bound on the error that copying adds.

        Of a single key, it is what the attention to all others lets in, and a few roundings. The mean of several equal
        ones is rounded more often.
        """
        largest, size = self.circuit.largest[dimension], node.selection.size
        bound = COPYING * max(1.0, largest)
        mean = bound if self.architecture.norm == "layer" else 0.0
        single = node.selection.selects_at_most_one() if node.how == "mean" else node.source is self.index
        if not single:
            return bound + mean
        heads = [self.head(node.selection, term, node.layer, copied=node) for term in node.selection.terms]
        slope = selection_slope(size)
        let_in = sum((size + 1) * np.exp((head.noise - 1 / 2) * slope) for head in heads)
        read = sum(abs(factor) * self.circuit.largest[other] for other, factor in reads.items())
        return min(bound, float(let_in) * largest + (8 + len(heads)) * self.rounding * read) + mean

    def _stepped(self, node: Node, shape: tuple[float, ...], name: str) -> Form:
        """Return a feature as the sum of steps along the node's line."""
        line, place = self._line(node)
        numbers = np.array(shape)[line.codes]
        changes = np.flatnonzero(np.diff(numbers))
        steps = [line.step(change) for change in changes.tolist()]
        heights = np.diff(numbers)[changes]
        start = float(numbers[0] + sum(height for height, step in zip(heights, steps, strict=True) if step.falls))
        dimension = self.circuit.dimension(name, float(np.abs(numbers - start).max()))
        for step, height in zip(steps, heights.tolist(), strict=True):
            for unit, sign in zip(self._units_of(node, step, place), (1, -1), strict=True):
                unit.writes[dimension] = -sign * height if step.falls else sign * height
        if len(self.circuit.units) > MOST_UNITS:
            raise CompileError(f"It needs more than {MOST_UNITS:,} hidden units.", node.text)
        products = 2 if self.architecture.mlp == "swiglu" else 1  # which are rounded, too
        self.errors[dimension] = products * rounding(line, steps, heights, numbers - start)
        return plus({dimension: 1.0}, {ONE: start})

    def _units_of(self, node: Node, step: Step, place: Form) -> tuple[Unit, Unit]:
        """Return the two hidden units whose difference is a step along a node's line."""
        if (node, step) not in self._units:
            side = "below" if step.falls else "beyond"
            first, second = (
                Unit(node.layer, self._reads(step, place, edge), text=f"{node.text} {side} {edge:g}")
                for edge in step.edges
            )
            self._units[node, step] = first, second
            self.circuit.units += [first, second]
        return self._units[node, step]

    def _reads(self, step: Step, place: Form, edge: float) -> Form:
        """Return what a hidden unit reads, which is less than 0 at the beginning token.

        How much less is free, and chosen so that int8 holds the row exactly if it can: its largest entry is then 127
        quarters of a point, and edges are quarters.
        """
        form = plus(place, {ONE: -edge})
        quarters = [4 * factor for factor in form.values()]
        exact = all(one.is_integer() and abs(one) <= 127 for one in quarters) and self.architecture.norm != "layer"
        return plus(times(step.slope, form), {BOS: -abs(step.slope) * 127 / 4 if exact else -4.0})

    def _line(self, node: Node) -> tuple[Line, Form]:
        """Return the line of a node, and the form of the point on it."""
        if node not in self._lines:
            if isinstance(node, Apply):
                line = find_line(node.table.columns, node.table.codes, node.text)
            else:
                places = np.arange(len(node.values))
                line = find_line({node: (places, node.values)}, places, node.text)
            forms = []
            for slot, weights in line.weights.items():
                if isinstance(slot, Total):
                    forms.append(times(line.slopes[slot], {self.total(slot): 1.0}))
                    self._demand(slot, abs(line.slopes[slot]) * sum(isinstance(one, Total) for one in line.weights))
                else:
                    form = self.feature(slot, weights)
                    if self.error(form) > (allowed := TOLERANCE / len(line.weights)):
                        raise _inseparable(node.text, self.error(form), allowed)
                    forms.append(form)
            if (rounded := 4 * self.rounding * float(np.abs(line.points).max())) > TOLERANCE:
                raise _inseparable(node.text, rounded)
            self._lines[node], self._places[node] = line, plus(*forms)
        return self._lines[node], self._places[node]

    def total(self, node: Total) -> int:
        """Return the dimension of a total."""
        if node not in self._totals:
            largest = max(abs(float(value)) for value in node.values)  # type: ignore[arg-type]
            dimension = self._totals[node] = self.circuit.dimension(node.text, largest)
            for term in node.selection.heads(node.source):
                head = self.head(node.selection, term, node.layer)
                source = node.source
                numbers = [] if source is None else [float(value or 0) for value in source.values]
                head.outputs[dimension] = {ONE: 1.0} if source is None else self.feature(source, numbers)
        return self._totals[node]

    def _demand(self, node: Total, slope: float) -> None:
        """Let the heads of a total be exact enough for a line with this slope, or refuse.

        With n selected positions and the weight w of the beginning token, w / (w + n) of a sum arrives. The score of
        that token is the logarithm of w, which is rounded too: so a larger w, which another total may ask for, makes
        all totals of its head less exact.
        """
        largest = self.circuit.largest[self.total(node)] * slope
        for term in node.selection.heads(node.source):
            head = self.head(node.selection, term, node.layer)
            head.weight = max(head.weight, largest * node.selection.size / TOLERANCE)
            inputs = self.error(head.outputs[self.total(node)]) * slope * node.selection.size
            if inputs > TOLERANCE:
                raise _inseparable(node.text, inputs)
            self._demands.setdefault(id(head), []).append((node, largest))
            rounded = (8 + 3 * np.log(head.weight)) * self.rounding
            for one, most in self._demands[id(head)]:
                scores = most * (np.expm1(head.noise * selection_slope(one.selection.size)) + rounded)
                if scores / 2 > TOLERANCE:
                    raise _inseparable(one.text, scores / 2)

    def error(self, form: Form) -> float:
        """Return a bound on the error of a form."""
        return sum(abs(factor) * self.errors.get(dimension, 0.0) for dimension, factor in form.items())

    def head(self, selection: Selection, term: Term, layer: int, copied: Copied | None = None) -> Head:
        """Return the head of a term; heads that attend alike are one."""
        ranked = copied if copied is not None and copied.how != "mean" else None
        key = (layer, copied is None, term.key, None if ranked is None else (ranked.source, ranked.how))
        if key not in self.circuit.heads:
            head = Head(layer, selection.text, [], counts=copied is None)
            for (key_node, query_node), relation in term.conditions.items():
                self._compare(head, key_node, query_node, relation)
            if self.architecture.norm == "layer":  # after which the products of equal features are not of few bits
                head.noise += CENTERING * (head.mass + len(head.scores)) + EPSILON / 4 * head.mass**2
            if ranked is not None:
                self._rank(head, ranked)
            if head.noise > MOST_NOISE:
                raise _inseparable(selection.text, head.noise, MOST_NOISE)
            self.circuit.heads[key] = head
        return self.circuit.heads[key]

    def _rank(self, head: Head, node: Copied) -> None:
        """Let a head prefer the keys with the largest, or the smallest, value."""
        values: list[Value] = node.source.values
        order = sorted(values, reverse=node.how == "min")  # type: ignore[type-var]
        ranks = self.feature(node.source, [float(order.index(value)) for value in values])
        head.levels = len(values)
        head.scores = [(times(float(head.levels), query), key) for query, key in head.scores]
        head.scores.append(({ONE: 1.0}, ranks))
        head.noise = head.noise * head.levels + self.error(ranks)
        if self.architecture.norm == "layer":
            head.noise += 2 * CENTERING * head.levels
            head.reach = max(head.reach, 1 + reach(ranks) / head.levels)

    def _compare(self, head: Head, key: Node | None, query: Node | None, relation: Relation) -> None:
        """Add the score of one condition: 0 where the relation holds, -1 or less elsewhere."""
        rows, row_of = np.unique(relation, axis=0, return_inverse=True)
        columns, column_of = np.unique(rows, axis=1, return_inverse=True)
        row_of, column_of = row_of.reshape(-1), column_of.reshape(-1)
        if min(columns.shape) > MOST_CONDITION and not _is_pairing(columns):
            raise CompileError(
                f"It needs {min(columns.shape):,} dimensions for one selector; at most {MOST_CONDITION:,} are "
                "compiled. A smaller --length needs fewer.",
                head.text,
            )
        scores = _scores(columns)
        of_queries, of_keys = (np.abs(np.stack(side)) for side in zip(*scores, strict=True))
        head.mass += float((of_queries.T @ of_keys)[columns].max(initial=0))
        for queries, keys in scores:
            forms = (self._read(query, queries[row_of]), self._read(key, keys[column_of]))
            if all(forms):
                head.scores.append(forms)
                # a query's error counts at every key, and the other way round
                sizes = float(np.abs(queries).max()), float(np.abs(keys).max())
                head.noise += self.error(forms[0]) * sizes[1] + self.error(forms[1]) * sizes[0]
                head.reach = max(head.reach, reach(forms[0]) / sizes[0] + reach(forms[1]) / sizes[1])

    def _read(self, node: Node | None, numbers: np.ndarray) -> Form:
        if node is None:
            return {ONE: float(numbers[0])} if numbers[0] else {}
        return self.feature(node, numbers.tolist())


def selection_slope(size: int) -> float:
    """Return the score by which unselected positions are below selected ones.

    Twice the logarithm of a million times their number: half of it keeps all of them together a millionth of one.
    """
    return 2 * float(np.log(1e6 * size))


def _scores(relation: Relation) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return numbers of queries and of keys whose products add up to 0 where a relation holds, else to -1 or less."""
    queries, keys = relation.shape
    if min(queries, keys) > LARGEST_ONE_HOT and _is_pairing(relation):
        return _bits(relation)
    below = relation.astype(np.float64) - 1
    if keys < queries:
        return [(below[:, key], (np.arange(keys) == key) * 1.0) for key in range(keys)]
    return [((np.arange(queries) == query) * 1.0, below[query]) for query in range(queries)]


def _is_pairing(relation: Relation) -> bool:
    """Whether no query has two keys, and no key two queries."""
    return bool(relation.sum(0).max() <= 1 and relation.sum(1).max() <= 1)


def _bits(relation: Relation) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the scores of a relation that pairs queries and keys: the same bits have the product 1, others -1."""
    queries, keys = relation.shape
    query_codes = np.full(queries, keys)  # a query without a key has a code that no key has
    for query, key in zip(*np.nonzero(relation), strict=True):
        query_codes[query] = key
    count = ceil(log2(keys + 1))
    signs = [(1.0 - 2.0 * (query_codes >> bit & 1), 1.0 - 2.0 * (np.arange(keys) >> bit & 1)) for bit in range(count)]
    return [*signs, (np.full(queries, -float(count)), np.ones(keys))]


def _inseparable(text: str, error: float, allowed: float = TOLERANCE) -> CompileError:
    return CompileError(
        f"Its values cannot be separated in float32: the error may be {error:.2g} of the smallest gap, of which "
        f"{allowed:.2g} is allowed. A smaller --length has larger gaps.",
        text,
    )


def _name(node: Node, shape: Sequence[float]) -> str:
    """Return the name of a dimension: an indicator by its value, the rest by the values' numbers."""
    ones = [value for value, number in zip(node.values, shape, strict=True) if number]
    zeros = [value for value, number in zip(node.values, shape, strict=True) if not number]
    if set(shape) == {0.0, 1.0} and min(len(ones), len(zeros)) == 1:
        return f"{node.text} == {shown(ones[0])}" if len(ones) == 1 else f"{node.text} != {shown(zeros[0])}"
    return f"{node.text}: {', '.join(f'{number:g}' for number in shape[:6])}{', ...' if len(shape) > 6 else ''}"
