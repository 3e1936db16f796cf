"""The margin of a compiled program: by how much the logit of each right value is above those of others.

It is 1 in the weights as compiled, up to rounding, and 0 or less if a value is wrong. Changed weights, such as rounded
ones, have a smaller one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product

import torch

from sayso.rasp.compile.program import Compiled, mask_of
from sayso.rasp.compile.weights import CERTAINTY
from sayso.rasp.expression import SOp
from sayso.rasp.interpreter import EvaluationError, run
from sayso.rasp.values import Value

MOST_INPUTS = 512
BATCH = 64


@dataclass(frozen=True)
class Margin:
    """The smallest margin on some inputs, at most 1."""

    smallest: float
    sequence: tuple[Value, ...]
    """The input that has it, if it is below 1."""
    inputs: int
    """How many inputs with values there were."""
    all: bool
    """Whether they are all that the program is compiled for."""


def margin_of(compiled: Compiled, program: SOp, most: int = MOST_INPUTS) -> Margin:
    """Return the margin on every input, or on `most` inputs of all lengths, drawn at random, if there are more.

    Inputs for which the interpreter has no value do not count.
    """
    sequences, complete = _inputs(compiled, most)
    known = [(one, expected) for one in sequences if (expected := _expected(compiled, program, one)) is not None]
    smallest = 1.0
    worst: tuple[Value, ...] = ()
    for first in range(0, len(known), BATCH):
        for one, margin in _margins(compiled, known[first : first + BATCH]):
            if not margin >= smallest:  # which not a number is not, either
                smallest, worst = margin, one
    return Margin(smallest, worst, len(known), complete)


def _inputs(compiled: Compiled, most: int) -> tuple[list[tuple[Value, ...]], bool]:
    alphabet, lengths = list(compiled.vocabulary.tokens), range(1, compiled.length + 1)
    if sum(len(alphabet) ** length for length in lengths) <= most:
        return list(chain.from_iterable(product(alphabet, repeat=length) for length in lengths)), True
    rng = random.Random(0)
    return [tuple(rng.choices(alphabet, k=lengths[-1 - number % len(lengths)])) for number in range(most)], False


def _expected(compiled: Compiled, program: SOp, sequence: Sequence[Value]) -> list[Value] | None:
    try:
        return run(program, sequence, causal=compiled.causal)
    except EvaluationError:
        return None


@torch.no_grad()
def _margins(
    compiled: Compiled, known: Sequence[tuple[tuple[Value, ...], list[Value]]]
) -> list[tuple[tuple[Value, ...], float]]:
    """Return the smallest margin of each input."""
    rows = [compiled.ids(sequence) for sequence, _ in known]
    time = max(map(len, rows))
    ids = torch.tensor([row + row[:1] * (time - len(row)) for row in rows])
    logits = compiled.model(ids, mask=mask_of([len(row) for row in rows], time, compiled.causal))
    results = compiled.vocabulary.results
    logits = logits[..., torch.tensor(list(results))] / CERTAINTY
    values = list(results.values())
    equal = {value: torch.tensor([value == one for one in values]) for value in values}
    found = []
    for (sequence, expected), own in zip(known, logits, strict=True):
        right = torch.stack([equal[value] for value in expected])  # 1 and True are equal, and may both be results
        own = own[1 : len(expected) + 1]
        margins = own.masked_fill(~right, -torch.inf).amax(1) - own.masked_fill(right, -torch.inf).amax(1)
        found.append((sequence, float(margins.min().nan_to_num(-torch.inf, torch.inf, -torch.inf))))
    return found
