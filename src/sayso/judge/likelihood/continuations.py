"""Log-probabilities of texts that continue a context, such as the choices of a question.

The context and its continuation are encoded together, and the tokens beyond those of the context alone are scored, as
in lm-evaluation-harness: white space at the end of a context belongs to the continuation. Where a token crosses the
border, the continuation is counted as `merged`; if that leaves it no token, those that differ from the context's are
scored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from sayso.base.errors import UserError
from sayso.judge.likelihood.spans import Span, score_spans
from sayso.model import Transformer
from sayso.token.tokenizer import BOS, Tokenizer


@dataclass(frozen=True)
class Continuation:
    """A text to score, given a context; both are joined without a blank."""

    context: str
    text: str


@dataclass(frozen=True)
class ContinuationScore:
    """The score of one continuation."""

    logprob: float
    """Natural log of the probability of its tokens."""
    greedy: bool
    """Whether each of its tokens is the most likely one, given the right tokens before it."""
    tokens: int
    cut: int = 0
    """Number of tokens cut from the beginning of the context, which was too long."""
    merged: bool = False
    """Whether the tokenizer, given both texts, has a token that crosses their border."""


class Scorer(Protocol):
    """A model that scores continuations: one on this machine, or a server."""

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = ...
    ) -> Iterable[list[ContinuationScore]]:
        """Yield the scores of each group, whose continuations should share the beginning of their contexts."""
        ...


class ModelScorer:
    """Score continuations with a model on this machine."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, begin: bool | None = None) -> None:
        """`begin` is whether the beginning-of-text token precedes each context; None = as the tokenizer does."""
        self.model, self.tokenizer = model, tokenizer
        self.begin = tokenizer.begins if begin is None else begin

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
    ) -> list[list[ContinuationScore]]:
        """Return the score of each continuation, whatever the groups; those of a group share one pass."""
        flat = [one for group in groups for one in group]
        encoded = iter(self._encoded(flat))
        pairs = [[next(encoded) for _ in group] for group in groups]
        scores = score_spans(self.model, [[span for span, _ in group] for group in pairs], progress)
        return [
            [
                ContinuationScore(score.logprob, score.greedy, score.tokens, score.cut, merged)
                for score, (_, merged) in zip(found, group, strict=True)
            ]
            for found, group in zip(scores, pairs, strict=True)
        ]

    def _encoded(self, continuations: Sequence[Continuation]) -> list[tuple[Span, bool]]:
        """Return the span of each continuation, and whether a token crosses the border."""
        parts = [split(one) for one in continuations]
        contexts = dict.fromkeys(context for context, _ in parts)
        known = dict(zip(contexts, self.tokenizer.encode_batch(list(contexts)), strict=True))
        wholes = self.tokenizer.encode_batch([context + text for context, text in parts])
        found = []
        for (context, text), whole in zip(parts, wholes, strict=True):
            if not text:
                raise UserError("A continuation must have at least one character; got an empty one.")
            before = known[context]
            merged = whole[: len(before)] != before
            if len(whole) <= len(before):  # merged into so few tokens that none is left: score those that differ
                before = [one for one, other in takewhile(_same, zip(whole, before, strict=False))]
            after = whole[len(before) :]
            first = [self.tokenizer.specials[BOS]] if self.begin or not before else []
            found.append((Span([*first, *before, *after], len(first) + len(before)), merged))
        return found


def _same(pair: tuple[int, int]) -> bool:
    return pair[0] == pair[1]


def split(one: Continuation) -> tuple[str, str]:
    """Return the context without white space at its end, and the continuation preceded by it."""
    context = one.context.rstrip()
    return context, one.context[len(context) :] + one.text
