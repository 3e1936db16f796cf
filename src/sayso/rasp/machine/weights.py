"""From a program of the next-token dialect to weights: an embedding, blocks of heads and gated hidden units, a head.

Each stream that is no sum has a dimension of the residual stream, to which one head or one unit writes, and is computed
in the first sublayer that follows those of its inputs. Sums are rows of the matrices that read. All weights are
integers. C dimensions, V tokens, U hidden units.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from sayso.rasp.machine.dialect import (
    Field,
    Gated,
    Head,
    Lookup,
    NextToken,
    Position,
    Stream,
    Sum,
    Total,
    Vocabulary,
    inputs,
    split,
)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Lookups:
    """A head: it copies values from the position whose key has the largest product with the query."""

    query: Matrix
    """[2, C]; the query is (2 q, 1)."""
    key: Matrix
    """[2, C]; the key is (k, -k^2)."""
    value: Matrix
    """[D, C]"""
    targets: list[int]
    """The D dimensions to which it writes."""


@dataclass(frozen=True)
class Totals:
    """A head that attends to all positions alike, and adds up their values."""

    value: Matrix
    """[D, C]"""
    targets: list[int]


@dataclass(frozen=True)
class Block:
    """Heads, then hidden units: x + down(max(gate x, 0) * up x)."""

    lookups: list[Lookups]
    totals: Totals
    gate: Matrix
    """[U, C]"""
    up: Matrix
    down: Matrix
    """[C, U]"""


@dataclass(frozen=True)
class Weights:
    """A program as weights."""

    vocabulary: Vocabulary
    names: list[str]
    """Of the dimensions."""
    embed: Matrix
    """[V, C]"""
    position: int
    """The dimension of the position; that of its square follows."""
    blocks: list[Block]
    unembed: Matrix
    """[V, C]; 2 a . x - a . a is largest for the token whose fields a are nearest to the fields x."""


def compile_program(program: NextToken) -> Weights:
    """Return a program as weights."""
    streams = _ordered(program.fields.values())
    times = _times(streams)
    vocabulary = program.vocabulary
    one = Sum({}, 1)
    columns = [one, Position(), Position(squared=True), *(Field(name) for name in vocabulary.fields)]
    dimensions: dict[Stream, int] = {}
    for stream in streams:
        same = [index for index, column in enumerate(columns) if _alike(column, stream)]
        dimensions[stream] = same[0] if same else len(columns)
        if not same:
            columns.append(stream)
    reader = _Reader(dimensions, len(columns))
    embed = np.zeros((len(vocabulary.tokens), len(columns)))
    embed[:, 0] = 1
    for index, name in enumerate(vocabulary.fields):
        embed[:, 3 + index] = vocabulary.column(name)
    last = max([1, *times.values()])
    blocks = [
        _block([one for one in streams if times[one] in (time, time + 1)], reader) for time in range(1, last + 1, 2)
    ]
    unembed = np.zeros_like(embed)
    for name, stream in program.fields.items():
        numbers = np.array(vocabulary.column(name), dtype=float)
        unembed += np.outer(2 * numbers, reader.row(stream))
        unembed[:, 0] -= numbers**2
    return Weights(vocabulary, [_name(column) for column in columns], embed, 1, blocks, unembed)


@dataclass(frozen=True)
class _Reader:
    """Rows of matrices that read streams from the residual stream."""

    dimensions: dict[Stream, int]
    width: int

    def row(self, x: Stream, factor: int = 1) -> Matrix:
        terms, constant = split(x)
        row = np.zeros(self.width)
        row[0] = factor * constant
        for one, times in terms.items():
            row[self.dimensions[one]] += factor * times
        return row

    def rows(self, xs: Iterable[Stream]) -> Matrix:
        return np.array([self.row(x) for x in xs]).reshape(-1, self.width)


def _ordered(results: Iterable[Stream]) -> list[Stream]:
    """Return all streams that are no sums, inputs first."""
    done: dict[Stream, None] = {}

    def visit(x: Stream) -> None:
        if x not in done:
            for inner in inputs(x):
                visit(inner)
            done[x] = None

    for x in results:
        visit(x)
    return [x for x in done if not isinstance(x, Sum)]


def _times(streams: list[Stream]) -> dict[Stream, int]:
    """Return the sublayer of each stream: 0 is the embedding, odd numbers are attention, even ones hidden units."""
    times: dict[Stream, int] = {}
    for x in streams:
        if isinstance(x, Field | Position):
            times[x] = 0
            continue
        ready = max((times[term] for inner in inputs(x) for term in split(inner)[0]), default=0)
        odd = 0 if isinstance(x, Gated) else 1
        times[x] = ready + (2 if ready % 2 == odd else 1)
    return times


def _block(streams: list[Stream], reader: _Reader) -> Block:
    gated = [x for x in streams if isinstance(x, Gated)]
    totals = [x for x in streams if isinstance(x, Total)]
    down = np.zeros((reader.width, len(gated)))
    for unit, x in enumerate(gated):
        down[reader.dimensions[x], unit] = 1
    found = sorted((x for x in streams if isinstance(x, Lookup)), key=lambda x: id(x.head))
    return Block(
        [_lookups(head, list(group), reader) for head, group in groupby(found, key=lambda x: x.head)],
        Totals(reader.rows(x.values for x in totals), [reader.dimensions[x] for x in totals]),
        reader.rows(x.gate for x in gated),
        reader.rows(x.value for x in gated),
        down,
    )


def _lookups(head: Head, values: list[Lookup], reader: _Reader) -> Lookups:
    return Lookups(
        np.array([reader.row(head.query, 2), reader.row(Sum({}, 1))]),
        np.array([reader.row(head.keys.key), reader.row(head.keys.squared, -1)]),
        reader.rows(x.value for x in values),
        [reader.dimensions[x] for x in values],
    )


def _alike(one: Stream, other: Stream) -> bool:
    """Whether two parts of the embedding are the same one."""
    if isinstance(one, Field) and isinstance(other, Field):
        return one.name == other.name
    return isinstance(one, Position) and isinstance(other, Position) and one.squared == other.squared


def _name(x: Stream) -> str:
    match x:
        case Field(name):
            return name
        case Position(squared):
            return "position^2" if squared else "position"
        case Sum():
            return "one"
    return type(x).__name__.lower()
