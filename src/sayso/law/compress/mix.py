"""The distribution of the next token: the model's, and with `Mix` what the file itself has taught so far.

Both sides of compression update the same state in the same order, so they agree to the bit. S streams, V vocabulary.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Counts = dict[tuple[int, ...], dict[int, int]]

ORDERS = (1, 2, 3, 4, 6)
"""Lengths of the contexts whose continuations are counted."""
BIAS_RATE = 0.02
FIRST_WEIGHT, LEAST_RATE, MOST = 0.05, 0.005, 0.98
MOST_COUNTS = 1 << 19
"""Most counts, of a token after a context, that are kept from one block to the next; the smallest are forgotten."""
SEEN = 8  # a context seen this often or more shares its weight with all others of its order


class Predictor(Protocol):
    """Turns logits into probabilities, and learns from what came."""

    def probabilities(self, logits: Floats) -> Floats:
        """Return the distributions of the next token of the first streams, [S, V], from the model's logits [S, V]."""

    def learn(self, tokens: Sequence[int]) -> None:
        """Take note of the tokens that came, one for each of these streams."""

    def begun(self, streams: int, /) -> Self:
        """Return what has learned the same, for a new block of `streams`; it does not change this one."""


class ModelAlone:
    """The model's own distribution."""

    def probabilities(self, logits: Floats) -> Floats:
        """Return the softmax of the logits."""
        return softmax(logits)

    def learn(self, tokens: Sequence[int]) -> None:
        """Learn nothing."""

    def begun(self, _: int, /) -> Self:
        """Return this."""
        return self


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

    def __init__(self, vocab_size: int, streams: int = 1) -> None:
        self._bias = np.zeros(vocab_size, np.float32)
        self._counts: _Counts = {}
        self._weights: dict[tuple[int, int, bool], tuple[float, int]] = {}
        self._before: list[deque[int]] = [deque(maxlen=max(ORDERS)) for _ in range(streams)]
        # Written over at each step, because new arrays of this size cost page faults.
        self._soft, self._mixed = (np.zeros((streams, vocab_size), np.float32) for _ in range(2))
        self._stages: list[list[_Stage]] = []

    def begun(self, streams: int, /) -> Self:
        """Return a mixture with the same bias, weights and counts, as far as counts are kept."""
        new = type(self)(len(self._bias), streams)
        new._bias, new._weights = self._bias.copy(), dict(self._weights)
        new._counts = {context: dict(counts) for context, counts in _most_frequent(self._counts).items()}
        return new

    def probabilities(self, logits: Floats) -> Floats:
        """Return the mixtures; the next call overwrites them."""
        count = len(logits)
        self._stages = [self._stages_of(tuple(self._before[row])) for row in range(count)]
        soft, mixed = self._soft[:count], self._mixed[:count]
        np.add(logits, self._bias, out=mixed)
        torch.softmax(torch.from_numpy(mixed), -1, out=torch.from_numpy(soft))
        for alone, row, stages in zip(soft, mixed, self._stages, strict=True):
            _mix_in(alone, stages, row)
        return mixed

    def learn(self, tokens: Sequence[int]) -> None:
        """Update the weights, the bias and the counts, stream after stream."""
        for row, token in enumerate(tokens):
            self._reweigh(self._stages[row], token, float(self._soft[row, token]))
        step = self._soft[: len(tokens)].sum(0)
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


def _most_frequent(counts: _Counts) -> _Counts:
    """Return the largest `MOST_COUNTS` counts; of equal ones, those of short contexts, then the latest."""
    found = [(context, token, count) for context, one in counts.items() for token, count in one.items()]
    if len(found) <= MOST_COUNTS:
        return counts
    found.reverse()
    found.sort(key=lambda one: (-one[2], len(one[0])))
    kept: _Counts = {}
    for context, token, count in reversed(found[:MOST_COUNTS]):
        kept.setdefault(context, {})[token] = count
    return kept


def softmax(logits: Floats) -> Floats:
    """Return exp(x) / sum exp(x) of each row, whose bits do not depend on the other rows or on threads."""
    found: Floats = torch.softmax(torch.from_numpy(np.ascontiguousarray(logits)), -1).numpy()
    return found


def _mix_in(alone: Floats, stages: Sequence[_Stage], out: Floats) -> None:
    """Write a distribution into which the stages are mixed, one after the other; all of it is scaled only once."""
    left, shares = 1.0, []
    for stage in reversed(stages):
        shares.append((stage.tokens, [left * stage.weight * share for share in stage.counted]))
        left *= 1 - stage.weight
    np.multiply(alone, np.float32(left), out=out)
    for tokens, added in shares:
        out[tokens] += np.array(added, np.float32)


def _contexts(before: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the ends of the tokens before, from the shortest on."""
    return [before[-order:] for order in ORDERS if order <= len(before)]
