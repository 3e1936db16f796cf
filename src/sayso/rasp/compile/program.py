"""A compiled program: takes an s-op, an alphabet and a length, returns a model that computes it, with its names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log2

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.rasp.compile.circuit import ONE, ORDINARY, Architecture, Circuit, Form, plus, times
from sayso.rasp.compile.domain import CompileError, Node
from sayso.rasp.compile.encode import LARGEST_ONE_HOT, Encoder
from sayso.rasp.compile.lower import Lowering
from sayso.rasp.compile.weights import add_dimensions, build, set_results
from sayso.rasp.expression import SOp
from sayso.rasp.values import Value, exact, shown
from sayso.token.tokenizer import BOS, SMALLEST_VOCABULARY
from sayso.token.whole import WholeTokenizer

LONGEST = 1024
MOST_RESULTS = 20_000
MOST_ERROR = 0.8
"""Largest error of the difference of two logits, which is 1 or more."""


@dataclass(frozen=True)
class Vocabulary:
    """The ids of the tokens that a program reads and of the values that it gives."""

    tokenizer: WholeTokenizer
    tokens: dict[Value, int]
    results: dict[int, Value]


@dataclass(frozen=True)
class Compiled:
    """A program as weights."""

    model: Transformer
    vocabulary: Vocabulary
    length: int
    """The longest input, in tokens; the model has one position more, for the beginning token."""
    causal: bool
    heads: tuple[int, ...]
    """The number of heads in each layer."""
    names: "Names"

    def __call__(self, sequence: Iterable[object]) -> list[Value]:
        """Return what the weights compute for an input, a value at each position.

        Raises `UserError` for an input that is too long, or has a token outside the alphabet.
        """
        return self.batch([sequence])[0]

    @torch.no_grad()
    def batch(self, sequences: Iterable[Iterable[object]]) -> list[list[Value]]:
        """Return the values for each of several inputs, which may differ in length."""
        rows = [self.ids(sequence) for sequence in sequences]
        if not rows:
            return []
        time = max(map(len, rows))
        ids = torch.tensor([row + row[:1] * (time - len(row)) for row in rows])
        logits = self.model(ids, mask=mask_of([len(row) for row in rows], time, self.causal))
        choices = torch.tensor(list(self.vocabulary.results))
        best = choices[logits[..., choices].argmax(-1)].tolist()
        return [
            [self.vocabulary.results[index] for index in found[1 : len(row)]]
            for found, row in zip(best, rows, strict=True)
        ]

    def ids(self, sequence: Iterable[object]) -> list[int]:
        """Return the ids of an input, with the beginning token."""
        values = [exact(value) for value in sequence]
        if len(values) > self.length:
            raise UserError(f"This program is compiled for inputs of up to {self.length} tokens; got {len(values)}.")
        for value in values:
            if value not in self.vocabulary.tokens:
                known = ", ".join(shown(one) for one in list(self.vocabulary.tokens)[:12])
                raise UserError(
                    f"{shown(value)} is not in the alphabet that this program is compiled for: {known}"
                    f"{', ...' if len(self.vocabulary.tokens) > 12 else ''}."
                )
        return [self.vocabulary.tokenizer.specials[BOS], *(self.vocabulary.tokens[value] for value in values)]


@dataclass(frozen=True)
class Names:
    """What each part of the model is in the program."""

    dimensions: tuple[str, ...]
    """Of the residual stream."""
    heads: tuple[tuple[str, ...], ...]
    """Of each layer."""
    units: tuple[tuple[str, ...], ...]
    """Hidden units of each layer."""


def mask_of(lengths: Sequence[int], time: int, causal: bool) -> Tensor:
    """Return which keys each query sees, bool [B, 1, T, T], for rows of several lengths."""
    real = torch.arange(time)[None] < torch.tensor(lengths)[:, None]
    seen = real[:, None, None, :].expand(-1, 1, time, time)
    return seen.tril() if causal else seen


def compile_program(
    program: SOp,
    alphabet: Iterable[object],
    length: int,
    *,
    causal: bool = False,
    architecture: Architecture = ORDINARY,
) -> Compiled:
    """Return a program as weights, for inputs of up to `length` tokens of an alphabet.

    On every such input for which `run` has values, the weights give the same values. Raises `CompileError`, with the
    expression and the reason, for a program for which that cannot be ensured in float32.
    """
    if not 1 <= length <= LONGEST:
        raise UserError(f"A program is compiled for a length of 1 to {LONGEST:,} tokens; got {length:,}.")
    tokens = list(dict.fromkeys(map(exact, alphabet)))
    if not tokens or None in tokens:
        raise UserError("An alphabet has one or more tokens, and None is not one.")
    lowering = Lowering(tokens, length, causal)
    result = lowering.lower(program)
    encoder = Encoder(lowering.token, lowering.index, architecture)
    codes, errors = _result(encoder, result)
    if errors > MOST_ERROR:
        raise CompileError(f"The error of its results may be {errors:.2g}, and {MOST_ERROR} is allowed.", program)
    vocabulary = vocabulary_of(tokens, result.values)
    layers = max(1, result.layer)
    ids, bos = list(vocabulary.tokens.values()), vocabulary.tokenizer.specials[BOS]
    add_dimensions(encoder.circuit, architecture)
    model = build(encoder.circuit, length, layers, vocabulary.tokenizer.vocab_size, ids, bos, architecture)
    model.looks_ahead = not causal
    set_results(model, encoder.circuit, dict(zip(vocabulary.results, codes, strict=True)))
    shape = tuple(encoder.circuit.shape(layers))
    return Compiled(model, vocabulary, length, causal, shape, _names(encoder.circuit, layers))


def _result(encoder: Encoder, node: Node) -> tuple[list[Form], float]:
    """Return the logit of each value of the result, 1 for the one that it is and 0 or less for others.

    The second result is the largest error of the difference of two, as a part of it.
    """
    count = len(node.values)
    if count > MOST_RESULTS:
        raise CompileError(f"Its result has {count:,} values; at most {MOST_RESULTS:,} are compiled.", node.text)
    if count == 1:
        return [{ONE: 1.0}], 0.0
    if count <= LARGEST_ONE_HOT:
        forms = [encoder.feature(node, [float(place == one) for place in range(count)]) for one in range(count)]
        return forms, 2 * max(map(encoder.error, forms))
    bits = ceil(log2(count))
    signs = [[1.0 - 2.0 * (place >> bit & 1) for place in range(count)] for bit in range(bits)]
    forms = [encoder.feature(node, numbers) for numbers in signs]
    # half the sum of the signs that agree: one that differs makes it less by one
    logits = [
        plus(*(times(numbers[place] / 2, form) for numbers, form in zip(signs, forms, strict=True)),
             {ONE: 1.0 - bits / 2})
        for place in range(count)
    ]  # fmt: skip
    return logits, max(map(encoder.error, forms))  # of a sign, two halves of which make a difference of 1


def vocabulary_of(alphabet: Sequence[Value], results: Sequence[Value]) -> Vocabulary:
    """Return a tokenizer of characters, in which other tokens and results are pieces of their own.

    Raises `UserError` for an alphabet with two tokens that are written alike, such as 1 and "1".
    """
    ids: dict[str, int] = {}

    def index(value: Value) -> int:
        text = value if isinstance(value, str) else str(value)
        if len(text) == 1 and text.isascii():
            return SMALLEST_VOCABULARY - 256 + ord(text)
        return ids.setdefault(text, SMALLEST_VOCABULARY + len(ids))

    tokens = {value: index(value) for value in alphabet}
    alike = dict(zip(tokens.values(), tokens, strict=True))
    for value, number in tokens.items():
        if alike[number] != value:
            raise UserError(f"{shown(value)} and {shown(alike[number])} are written alike; omit one from the alphabet.")
    named: dict[int, Value] = {}
    for value in results:
        number = index(value)
        while number in named:  # a string that reads like another value, such as "None"
            number = ids.setdefault(f"{value}'{len(ids)}", SMALLEST_VOCABULARY + len(ids))
        named[number] = value
    return Vocabulary(WholeTokenizer("character", list(ids)), tokens, named)


def _names(circuit: Circuit, layers: int) -> Names:
    numbers = range(1, layers + 1)
    return Names(
        tuple(circuit.names),
        tuple(tuple(head.text for head in circuit.heads.values() if head.layer == layer) for layer in numbers),
        tuple(tuple(unit.text for unit in circuit.units if unit.layer == layer) for layer in numbers),
    )
