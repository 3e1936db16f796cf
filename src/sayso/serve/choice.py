"""One choice of an answer on its way: the engine's tokens enter, pieces of text with their tokens leave.

The text is made in the engine's thread, so that a stop text ends the request with the very token that completes it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sayso.reply.text import Text
from sayso.sample.request import Request, Score


@dataclass(frozen=True)
class Piece:
    """What choice `index` said since its piece before; a token whose text is held back comes with a later piece."""

    index: int
    text: str
    ids: list[int]
    logprobs: list[float]
    """Of each id, its natural-log probability under the model itself."""
    tops: list[dict[int, float]]
    """Of each id, the likeliest ids in its place, when they were asked for."""
    tokens: int
    """How many tokens the choice has now."""
    finish: str
    """Empty while it goes on, then "stop", "length" or "cancelled"."""
    prompt: Sequence[Score] = ()
    """In the first piece, when they were asked for: the scores of each id of the prompt but the first."""


class Choice:
    """A request of the engine, and its text."""

    def __init__(self, index: int, request: Request, text: Text) -> None:
        self.index, self.request, self.text = index, request, text
        request.watch = self._hear
        self.asked = self.last = time.perf_counter()  # seconds, as are the next two
        self.began: float | None = None
        self.counted = 0  # tokens that the metrics know of
        self._heard, self._given, self._begun = "", 0, False

    def take(self) -> Piece | None:
        """Return what is new, or None while nothing can be shown."""
        request, start = self.request, self._given
        if request.finish:
            self._heard += self.text.close()
        elif not self._heard:
            return None
        text, self._heard, self._given = self._heard, "", len(request.ids)
        prompt = () if self._begun else request.prompt_scores
        self._begun = True
        return Piece(
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


def joined(pieces: Sequence[Piece]) -> Piece:
    """Return all pieces of one choice as one."""
    return replace(
        pieces[-1],
        text="".join(piece.text for piece in pieces),
        ids=[token for piece in pieces for token in piece.ids],
        logprobs=[logprob for piece in pieces for logprob in piece.logprobs],
        tops=[top for piece in pieces for top in piece.tops],
        prompt=pieces[0].prompt,
    )
