"""The tensor interpreter of RASP: takes an expression and a batch of inputs, returns the values of each.

It computes as a transformer's layers do, and stays exact. An s-op is a tensor of codes [B, T] with a table of values;
an elementwise operation is a new table; a selector gathers a matrix of its relation over two tables into booleans
[B, T, T]; and an aggregate is a product of those with one-hot values, which counts how often each value is selected.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError
from sayso.rasp.expression import (
    Aggregate,
    Combined,
    Constant,
    Expression,
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
from sayso.rasp.interpreter import CONVERT, LONGEST, EvaluationError, check_dialect, summary
from sayso.rasp.values import Value, apply, check_one_type, compare, exact, look_up


@dataclass(frozen=True)
class Column:
    """The values of an s-op: `codes` [B, T] index `values`; codes beyond the end of an input are -1."""

    codes: Tensor
    values: tuple[Value, ...]


def run_batch(program: SOp, sequences: Iterable[Iterable[object]], *, causal: bool = False) -> list[list[Value]]:
    """Return the values of an s-op on each of several inputs, which may differ in length; as `run` on each.

    Raises `UserError` if one of them has no value, with the expression that has none.
    """
    inputs = [[exact(value) for value in sequence] for sequence in sequences]
    if any(len(sequence) > LONGEST for sequence in inputs):
        raise UserError(f"An input may have at most {LONGEST:,} positions; got {max(map(len, inputs)):,}.")
    batch = _Batch(inputs, causal)
    for one in ordered(program):
        batch.compute(one)
    column = batch.columns[program]
    return [
        [column.values[code] for code in row[: len(sequence)]]
        for row, sequence in zip(column.codes.tolist(), inputs, strict=True)
    ]


class _Batch:
    """The columns and the selected pairs of everything computed so far."""

    def __init__(self, inputs: Sequence[Sequence[Value]], causal: bool) -> None:
        self.inputs, self.causal = inputs, causal
        self.columns: dict[SOp, Column] = {}
        self.selected: dict[Selector, Tensor] = {}
        time = max(map(len, inputs), default=0)
        self.lengths = torch.tensor([len(sequence) for sequence in inputs], dtype=torch.long)[:, None]
        self.places = torch.arange(time)[None].expand(len(inputs), time)
        self.real = self.places < self.lengths  # [B, T]
        self.visible = self.real[:, None, :] & self.real[:, :, None]  # [B, queries, keys]
        if causal:
            self.visible = self.visible.tril()

    def compute(self, one: Expression) -> None:
        """Compute an expression whose inputs are computed."""
        try:
            if isinstance(one, Selector):
                self.selected[one] = self._selected(one)
            elif isinstance(one, SOp):
                column = self._column(one)
                self._check_types(column)
                self.columns[one] = column
        except EvaluationError:
            raise
        except UserError as error:
            raise EvaluationError(str(error), one) from error

    def _column(self, one: SOp) -> Column:
        match one:
            case Tokens(kind):
                flat = [CONVERT[kind](value) for sequence in self.inputs for value in sequence]
                return self._coded(torch.arange(len(flat))[:, None], lambda row: flat[row[0]])
            case Indices():
                return self._numbers(self.places)
            case Length():
                return self._numbers(self.places + 1 if self.causal else self.lengths.expand_as(self.places))
            case Constant():
                return self._coded(self._rows(self.places * 0), lambda _: one.value)
            case Map(operation, arguments):
                columns = [self.columns[argument] for argument in arguments]
                return self._mapped(columns, lambda *values: apply(operation, values))
            case Member(members, value):
                return self._mapped([self.columns[value]], lambda found: None if found is None else found in members)
            case Lookup(table, key):
                entries = dict(table)
                return self._mapped([self.columns[key]], lambda found: look_up(entries, found))
            case SelectorWidth(selector):
                return self._numbers(self.selected[selector].sum(-1))
            case Aggregate():
                return self._aggregated(one)
        raise AssertionError(one)

    def _rows(self, x: Tensor) -> Tensor:
        """Return the real positions of x [B, T] as rows [M, 1]."""
        return x[self.real][:, None]

    def _numbers(self, x: Tensor) -> Column:
        return self._coded(self._rows(x), lambda row: row[0])

    def _mapped(self, columns: Sequence[Column], function: Callable[..., Value]) -> Column:
        rows = torch.cat([self._rows(column.codes) for column in columns], dim=1)
        tables = [column.values for column in columns]
        return self._coded(rows, lambda row: function(*(table[code] for table, code in zip(tables, row, strict=True))))

    def _coded(self, rows: Tensor, function: Callable[[Sequence[int]], Value]) -> Column:
        """Return a function of rows of integers [M, K], one for each real position; it is called once for each row."""
        unique, where = _unique(rows)
        table: dict[tuple[type, Value], int] = {}  # True and 1 are equal, but are not shown alike
        found = []
        for row in unique.tolist():
            value = function(row)
            found.append(table.setdefault((type(value), value), len(table)))
        codes = torch.full(self.real.shape, -1)
        codes[self.real] = torch.tensor(found, dtype=torch.long)[where]
        return Column(codes, tuple(value for _, value in table))

    def _aggregated(self, one: Aggregate) -> Column:
        check_dialect(one.how, self.causal)
        column = self.columns[one.values]
        hot = F.one_hot(column.codes + 1, len(column.values) + 1)[..., 1:].float()
        counts = (self.selected[one.selector].float() @ hot).long()  # [B, T, values]

        def summarized(row: Sequence[int]) -> Value:
            chosen = [value for value, count in zip(column.values, row[1:], strict=True) for _ in range(count)]
            return summary(one.how, chosen, row[0]) if chosen else one.default

        # the position is of use only to an error; the first of those with the same counts is named
        rows = counts[self.real]
        unique, where = _unique(rows)
        first = torch.full((len(unique),), LONGEST).scatter_reduce(0, where, self.places[self.real], "amin")
        return self._coded(torch.cat((first[where][:, None], rows), dim=1), summarized)

    def _selected(self, one: Selector) -> Tensor:
        match one:
            case Select(key, query, relation):
                keys, queries = self.columns[key], self.columns[query]
                return self._related(keys, queries, relation)
            case Combined("not", (inner,)):
                return ~self.selected[inner] & self.visible
            case Combined(operation, (left, right)):
                first, second = self.selected[left], self.selected[right]
                return first & second if operation == "and" else first | second
        raise AssertionError(one)

    def _related(self, keys: Column, queries: Column, relation: str) -> Tensor:
        """Return the visible pairs [B, T, T] whose key has a relation to the query."""
        width = len(keys.values)
        pairs = queries.codes[:, :, None] * width + keys.codes[:, None, :]  # [B, queries, keys]
        met = pairs[self.visible]
        unique, where = torch.unique(met, return_inverse=True)
        holds = [
            compare(relation, keys.values[pair % width], queries.values[pair // width]) for pair in unique.tolist()
        ]
        selected = torch.zeros_like(self.visible)
        selected[self.visible] = torch.tensor(holds, dtype=torch.bool)[where]
        return selected

    def _check_types(self, column: Column) -> None:
        """Raise `UserError` if an input's values are of several types."""
        if len({isinstance(value, str) for value in column.values if value is not None}) > 1:
            for row in column.codes.tolist():
                check_one_type(column.values[code] for code in row if code >= 0)


def _unique(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different rows of integers [M, K], and the index among them of each."""
    if not len(rows):
        return rows, rows.new_zeros(0)
    # sorting whole rows is slow, so those that differ in a sum with random weights are found first
    weights = torch.randint(2**62, (rows.shape[1],), generator=torch.Generator().manual_seed(0))
    sums, where = torch.unique((rows * weights).sum(1), return_inverse=True)
    few = rows.new_empty(len(sums), rows.shape[1])
    few[where] = rows
    if not torch.equal(few[where], rows):  # two rows have the same sum
        few, where = rows, torch.arange(len(rows))
    unique, again = torch.unique(few, dim=0, return_inverse=True)
    return unique, again[where]
