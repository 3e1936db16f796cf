"""One choice of a response in progress: takes the engine's tokens, returns pieces of text with their tokens.

The text is made in the engine's thread, so that a stop text ends the request at exactly the token that completes it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sayso.reply.text import Text
from sayso.sample.request import PromptLogprob, Request


@dataclass(frozen=True)
class ChoicePiece:
    """New output of choice `index` since its last piece; a token whose text is held back comes with a later piece."""

    index: int
    text: str
    ids: list[int]
    logprobs: list[float]
    """Natural log-probability of each id under the model itself."""
    tops: list[dict[int, float]]
    """The likeliest ids in place of each id, if requested."""
    tokens: int
    """Number of tokens of the choice so far."""
    finish: str
    """Empty while in progress, then "stop", "length" or "cancelled"."""
    prompt: Sequence[PromptLogprob] = ()
    """In the first piece, if requested: the scores of each id of the prompt except the first."""


class Choice:
    """A request to the engine, and its text."""

    def __init__(self, index: int, request: Request, text: Text) -> None:
        self.index, self.request, self.text = index, request, text
        request.watch = self._hear
        self.asked = self.last = time.perf_counter()  # seconds, as are the next two
        self.began: float | None = None
        self.first: float | None = None
        self.counted = 0  # tokens already counted by the metrics
        self._heard, self._given, self._begun = "", 0, False

    def take(self) -> ChoicePiece | None:
        """Return what is new, or None if nothing can be shown yet."""
        request, start = self.request, self._given
        if request.finish:
            self._heard += self.text.close()
        elif not self._heard:
            return None
        text, self._heard, self._given = self._heard, "", len(request.ids)
        prompt = () if self._begun else request.prompt_scores
        self._begun = True
        return ChoicePiece(
            self.index,
            text,
            request.ids[start:],
            request.logprobs[start:],
            request.tops[start:],
            self._given,
            request.finish,
            prompt,
        )

    def _hear(self, token: int) -> bool:
        enough = len(self.request.ids) >= self.request.sampling.min_tokens
        self._heard += self.text.push(token, stops=enough)
        return self.text.stopped


def joined(pieces: Sequence[ChoicePiece]) -> ChoicePiece:
    """Join all pieces of one choice."""
    return replace(
        pieces[-1],
        text="".join(piece.text for piece in pieces),
        ids=[token for piece in pieces for token in piece.ids],
        logprobs=[logprob for piece in pieces for logprob in piece.logprobs],
        tops=[top for piece in pieces for top in piece.tops],
        prompt=pieces[0].prompt,
    )
