"""The distribution of the next token: the model's, and with `Mix` what the file itself has taught so far.

Both sides of compression update the same state in the same order, so they agree to the bit. S streams, V vocabulary.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ORDERS = (1, 2, 3, 4, 6)
"""Lengths of the contexts whose continuations are counted."""
BIAS_RATE = 0.02
FIRST_WEIGHT, LEAST_RATE, MOST = 0.05, 0.005, 0.98
SEEN = 8  # a context seen this often or more shares its weight with all others of its order


class Predictor(Protocol):
    """Turns logits into probabilities, and learns from what came."""

    def probabilities(self, logits: Floats) -> Floats:
        """Return the distributions of the next token of the first streams, [S, V], from the model's logits [S, V]."""

    def learn(self, tokens: Sequence[int]) -> None:
        """Take note of the tokens that came, one for each of these streams."""


class ModelAlone:
    """The model's own distribution."""

    def probabilities(self, logits: Floats) -> Floats:
        """Return the softmax of the logits."""
        return softmax(logits)

    def learn(self, tokens: Sequence[int]) -> None:
        """Learn nothing."""


@dataclass(frozen=True)
class _Stage:
    """One step of a mixture: p becomes (1 - weight) p + weight * counted."""

    cell: tuple[int, int, bool]
    weight: float
    tokens: list[int]
    counted: list[float]


class Mix:
    """The model's distribution, with a bias per token learned on the way, mixed with n-grams of tokens in the file.

    From short contexts to long ones, each that was seen before mixes in the shares of the tokens that followed it. Its
    weight depends on its order, on how often it was seen, and on whether the same token always followed; the weights
    follow the posterior probability that the token came from the n-gram (online EM). All streams share one state.
    """

    def __init__(self, vocab_size: int, streams: int) -> None:
        self._bias = np.zeros(vocab_size, np.float32)
        self._counts: dict[tuple[int, ...], dict[int, int]] = {}
        self._weights: dict[tuple[int, int, bool], tuple[float, int]] = {}
        self._before: list[deque[int]] = [deque(maxlen=max(ORDERS)) for _ in range(streams)]
        self._soft = np.zeros((0, vocab_size), np.float32)
        self._stages: list[list[_Stage]] = []

    def probabilities(self, logits: Floats) -> Floats:
        """Return the mixtures."""
        self._soft = softmax(logits + self._bias)
        self._stages = [self._stages_of(tuple(self._before[row])) for row in range(len(logits))]
        mixed = self._soft.copy()
        for row, stages in zip(mixed, self._stages, strict=True):
            for stage in stages:
                row *= np.float32(1 - stage.weight)
                row[stage.tokens] += np.array([stage.weight * share for share in stage.counted], np.float32)
        return mixed

    def learn(self, tokens: Sequence[int]) -> None:
        """Update the weights, the bias and the counts, stream after stream."""
        for row, token in enumerate(tokens):
            self._reweigh(self._stages[row], token, float(self._soft[row, token]))
        step = self._soft.sum(0)
        np.subtract.at(step, list(tokens), 1)
        self._bias -= np.float32(BIAS_RATE) * step
        for before, token in zip(self._before, tokens, strict=False):
            for context in _contexts(tuple(before)):
                counts = self._counts.setdefault(context, {})
                counts[token] = counts.get(token, 0) + 1
            before.append(token)

    def _stages_of(self, before: tuple[int, ...]) -> list[_Stage]:
        stages = []
        for context in _contexts(before):
            if not (counts := self._counts.get(context)):
                break  # no longer context was seen either
            total = sum(counts.values())
            cell = len(context), min(total, SEEN), len(counts) == 1
            weight, _ = self._weights.get(cell, (FIRST_WEIGHT, 0))
            stages.append(_Stage(cell, weight, list(counts), [count / total for count in counts.values()]))
        return stages

    def _reweigh(self, stages: Sequence[_Stage], token: int, p: float) -> None:
        """Move each stage's weight towards the probability that the token came from it."""
        for stage in stages:
            from_counts = 0.0
            if token in stage.tokens:
                from_counts = stage.weight * stage.counted[stage.tokens.index(token)]
            p = (1 - stage.weight) * p + from_counts
            weight, times = self._weights.get(stage.cell, (FIRST_WEIGHT, 0))
            rate = max(LEAST_RATE, 1 / (times + 20))
            weight += rate * (from_counts / max(p, 1e-30) - weight)
            self._weights[stage.cell] = min(weight, MOST), times + 1


def softmax(logits: Floats) -> Floats:
    """Return exp(x) / sum exp(x) of each row."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def _contexts(before: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the ends of the tokens before, from the shortest on."""
    return [before[-order:] for order in ORDERS if order <= len(before)]
