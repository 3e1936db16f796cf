"""How often a model computes what its program computes: takes a model and examples, returns shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from sayso.model import Transformer
from sayso.rasp.teach.examples import Encoder, Example, logits_of

ROWS = 64


@dataclass(frozen=True)
class Accuracy:
    """Shares of some examples, from 0 to 1."""

    inputs: float
    """Inputs of which every value that counts is right."""
    values: float
    """Values that are right, of all that count."""


@torch.no_grad()
def accuracy(model: Transformer, encoder: Encoder, examples: Sequence[Example]) -> Accuracy:
    """Return how often the likeliest of the program's values is the right one."""
    choices = torch.tensor(list(encoder.vocabulary.results))
    whole = right = counted = 0
    for first in range(0, len(examples), ROWS):
        part = examples[first : first + ROWS]
        batch = encoder.batch(part)
        found = choices[logits_of(model, batch).cpu()[..., choices].argmax(-1)]
        good = found == batch.targets
        for row, one in enumerate(part):
            scored = good[row, 1 + one.start : 1 + len(one.tokens)]
            whole, right, counted = whole + bool(scored.all()), right + int(scored.sum()), counted + len(scored)
    return Accuracy(whole / len(examples), right / max(1, counted))


def by_size(model: Transformer, encoder: Encoder, tests: Mapping[int, Sequence[Example]]) -> dict[int, Accuracy]:
    """Return the accuracy on the examples of each size."""
    return {size: accuracy(model, encoder, examples) for size, examples in tests.items()}
