"""Lower a program: takes its expression and what the input can be, returns the node of its result.

Equal parts become one node. A mean becomes the sum over the count, so that `mean * width` depends on the sum alone;
what is selected at most once, or has no mean, is copied.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

from sayso.base.errors import UserError
from sayso.rasp.compile.domain import (
    MOST_COMBINATIONS,
    Apply,
    CompileError,
    Copied,
    Embedded,
    Node,
    Total,
    constant,
    is_constant,
)
from sayso.rasp.compile.selection import Selection, Term, condition, conjunction, inverted
from sayso.rasp.expression import (
    Aggregate,
    Combined,
    Constant,
    Indices,
    Length,
    Lookup,
    Map,
    Member,
    Select,
    Selector,
    SelectorWidth,
    SOp,
    Tokens,
    ordered,
)
from sayso.rasp.interpreter import CONVERT, check_dialect
from sayso.rasp.values import Value, apply, is_number, look_up

Mean = tuple[Selection, Node, Value]
"""What a mean is of: a selection, the values, and the default."""
MOST_AVERAGED = 2_000
MOST_ENTRIES = 300_000
"""Combinations of a function beyond which its operands get a layer of their own."""


class Lowering:
    """The nodes of a program for inputs of up to `length` tokens of an alphabet."""

    def __init__(self, alphabet: Sequence[Value], length: int, causal: bool) -> None:
        self.causal = causal
        self.token = Embedded("tokens", tuple(alphabet))
        self.index = Embedded("indices", tuple(range(length)))
        self._nodes: dict[SOp, Node] = {}
        self._terms: dict[tuple[Selector, bool], list[Term]] = {}
        self._selections: dict[tuple[object, ...], Selection] = {}
        self._equal: dict[object, Node] = {}
        self._means: dict[Node, Mean] = {}
        self._widths: dict[Node, Selection] = {}
        """Count -> the selection that it is of, or the last of several."""

    def lower(self, program: SOp) -> Node:
        """Return the node of a program. Raises `CompileError` for what cannot be compiled."""
        for one in ordered(program):
            if isinstance(one, SOp):
                try:
                    self._nodes[one] = self._node(one)
                except CompileError:
                    raise
                except UserError as error:
                    raise CompileError(str(error), one) from error
        return self._nodes[program]

    def _node(self, one: SOp) -> Node:
        text = str(one)
        match one:
            case Tokens(kind):
                return self.token if kind == "asis" else self._apply(("tokens", kind), text, CONVERT[kind], self.token)
            case Indices():
                return self.index
            case Length():
                return self._count(self._selection([Term({})], text), text)
            case Constant():
                return self._constant(one.value, text)
            case Map(operation, arguments):
                return self._mapped(operation, [self._nodes[argument] for argument in arguments], text)
            case Member(members, value):
                return self._apply(("in", members), text, lambda found: None if found is None else found in members,
                                   self._nodes[value])  # fmt: skip
            case Lookup(table, key):
                entries = dict(table)
                typed = tuple((type(key), key, type(value), value) for key, value in table)  # 1 is not True
                return self._apply(("look up", typed), text, lambda found: look_up(entries, found), self._nodes[key])
            case SelectorWidth(selector):
                return self._count(self._selection(self._disjoint(selector, True), str(selector)), text)
            case Aggregate():
                check_dialect(one.how, self.causal)
                return self._aggregated(one, text)
        raise AssertionError(one)

    def _mapped(self, operation: str, nodes: Sequence[Node], text: str) -> Node:
        if operation in ("+", "-") and len(nodes) == 2 and nodes[0] in self._means and nodes[1] in self._means:
            first, second = self._means[nodes[0]], self._means[nodes[1]]
            if first[0] is second[0]:
                return self._mean_of_both(operation, first, second, text)
        if operation == "*":
            first_node, second_node = nodes
            found = self._sum_of_mean(first_node, second_node) or self._sum_of_mean(second_node, first_node)
            if found is not None:
                return self._apply("as a fraction", text, Fraction, found)
        return self._apply(("map", operation), text, lambda *values: apply(operation, values), *nodes)

    def _aggregated(self, one: Aggregate, text: str) -> Node:
        selection = self._selection(self._disjoint(one.selector, True), str(one.selector))
        source = self._nodes[one.values]
        if not selection.terms:
            return self._constant(one.default, text)
        values = set(source.values)
        if values == {None} or (len(values) == 1 and not any(isinstance(value, str) for value in values)):
            (value,) = values
            return self._apply(("if any", type(value), value, type(one.default), one.default), text,
                               lambda count: value if count else one.default, self._count(selection, text))  # fmt: skip
        numbers = all(value is None or isinstance(value, bool) or is_number(value) for value in values)
        if one.how != "mean" or not numbers or selection.selects_at_most_one():
            if one.how != "mean" and (None in values or len(selection.terms) > 1):
                raise CompileError(
                    f"The {one.how} of a selection is compiled if it takes one head and no value is None.", one
                )
            key = ("copied", selection, source, type(one.default), one.default, one.how)
            return self._shared(key, lambda: Copied(text, selection, source, one.default, one.how))
        return self._mean(selection, source, one.default, text)

    def _mean(self, selection: Selection, source: Node, default: Value, text: str) -> Node:
        if len(source.values) > MOST_AVERAGED:
            raise CompileError(
                f"It is a mean of {len(source.values):,} different values; at most {MOST_AVERAGED:,} are compiled. A "
                "smaller --length has fewer.",
                text,
            )
        parts = [self._sum(selection, source, f"sum of {source.text}"), self._count(selection, f"count for {text}")]
        if None in source.values:
            is_none = self._apply(
                ("map", "is None"), f"({source.text}) is None", lambda value: int(value is None), source
            )
            parts.append(self._sum(selection, is_none, f"count of None in {source.text}"))

        def mean(total: Value, count: Value, nones: Value = 0) -> Value:
            if not count:
                return default
            return None if nones else Fraction(total, count)  # type: ignore[arg-type]

        node = self._apply(("mean", type(default), default), text, mean, *parts)
        self._means[node] = selection, source, default
        return node

    def _mean_of_both(self, operation: str, first: Mean, second: Mean, text: str) -> Node:
        """Return the sum or the difference of two means of one selection, which is a mean, too."""
        default = apply(operation, (first[2], second[2]))
        inner = f"{first[1].text} {operation} {second[1].text}"
        both = self._apply(("map", operation), inner, lambda *values: apply(operation, values), first[1], second[1])
        return self._mean(first[0], both, default, text)

    def _sum_of_mean(self, mean: Node, width: Node) -> Node | None:
        """Return the sum whose mean is multiplied by the number of its values, so that it needs no count; else None."""
        if mean not in self._means or self._widths.get(width) is not self._means[mean][0]:
            return None
        selection, source, default = self._means[mean]
        is_zero = is_number(default) and default == 0
        return self._sum(selection, source, f"sum of {source.text}") if is_zero and None not in source.values else None

    def _count(self, selection: Selection, text: str) -> Node:
        node = self._total(selection, None, text)
        self._widths[node] = selection
        return node

    def _sum(self, selection: Selection, source: Node, text: str) -> Node:
        return self._total(selection, source, text)

    def _total(self, selection: Selection, source: Node | None, text: str) -> Node:
        """Return the node of a count or a sum: what is known from the index, plus what heads find."""
        known = selection.known(source)
        parts: list[Node] = []
        if selection.heads(source):
            parts.append(self._shared(("total", selection, source), lambda: Total(text, selection, source)))
        if len(set(known)) > 1:
            parts.append(self._apply(("known", tuple(known)), text, lambda index: known[index], self.index))
        elif known[0] or not parts:
            parts.append(self._constant(known[0], text))
        return parts[0] if len(parts) == 1 else self._apply(("map", "+"), text, lambda one, other: one + other, *parts)

    def _selection(self, terms: Sequence[Term], text: str) -> Selection:
        selection = Selection(terms, self.index, self.causal, text)
        return self._selections.setdefault(selection.key, selection)

    def _disjoint(self, one: Selector, positive: bool) -> list[Term]:
        """Return the disjoint terms of a selector, or of its complement."""
        if (one, positive) not in self._terms:
            self._terms[one, positive] = self._found(one, positive)
        return self._terms[one, positive]

    def _found(self, one: Selector, positive: bool) -> list[Term]:
        match one:
            case Select(key, query, relation):
                try:
                    term = condition(self._nodes[key], self._nodes[query], relation, self.index)
                except CompileError:
                    raise
                except UserError as error:
                    raise CompileError(str(error), one) from error
                return [term if positive else inverted(term)]
            case Combined("not", (inner,)):
                return self._disjoint(inner, not positive)
            case Combined(operation, (left, right)) if (operation == "and") == positive:
                return conjunction(self._disjoint(left, positive), self._disjoint(right, positive))
            case Combined(_, (left, right)):
                first, other = sorted((left, right), key=lambda inner: self._needs_input(inner, positive))
                without = conjunction(self._disjoint(other, positive), self._disjoint(first, not positive))
                return self._disjoint(first, positive) + without
        raise AssertionError(one)

    def _needs_input(self, one: Selector, positive: bool) -> bool:
        """Whether a selector depends on more than indices; what does not comes first, as its count is known."""
        about_index = {(self.index, self.index)}
        return any(not set(term.conditions) <= about_index for term in self._disjoint(one, positive))

    def _apply(self, name: object, text: str, function: Callable[..., Value], *arguments: Node) -> Node:
        """Return a function of nodes; its value if they are constant."""
        if all(map(is_constant, arguments)):
            value = function(*(argument.values[0] for argument in arguments))
            return self._constant(value, text)
        key = (name, *map(id, arguments))
        return self._shared(key, lambda: _fitting(Apply(text, function, arguments)))

    def _constant(self, value: Value, text: str) -> Node:
        return self._shared(("constant", type(value), value), lambda: constant(value, text))

    def _shared(self, key: object, build: Callable[[], Node]) -> Node:
        if key not in self._equal:
            self._equal[key] = build()
        return self._equal[key]


def _fitting(node: Apply) -> Apply:
    """Return a function as it is if few values combine, else one of operands that an earlier layer computes."""
    if _combinations(node) <= MOST_ENTRIES:
        return node
    split = Apply(node.text, node.function, node.arguments, split=True)
    return split if _combinations(split) <= min(MOST_COMBINATIONS, _combinations(node) // 4) else node


def _combinations(node: Apply) -> int:
    count = 1
    for slot in node.slots:
        count *= len(slot.values)
    return count
