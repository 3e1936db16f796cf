"""One choice of a response in progress: takes the engine's tokens, returns pieces of text with their tokens.

The text is made in the engine's thread, so that a stop text ends the request at exactly the token that completes it.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sayso.base.errors import FieldError, UserError
from sayso.reply.text import Text
from sayso.sample.edits import NothingLeftError
from sayso.sample.request import PromptLogprob, Request


@dataclass(frozen=True)
class ChoicePiece:
    """New output of choice `index` since its last piece. A token comes with the character in which it begins."""

    index: int
    text: str
    ids: list[int]
    offsets: list[int]
    """Index in the text of the choice of the character in which each id begins; at most the length of the text."""
    logprobs: list[float]
    """Natural log-probability of each id under the model itself."""
    tops: list[dict[int, float]]
    """Log-probabilities of the likeliest ids at the position of each id; empty unless requested."""
    tokens: int
    """Number of tokens of the choice so far."""
    finish: str
    """Empty while in progress, then "stop", "length" or "cancelled"."""
    prompt: Sequence[PromptLogprob] = ()
    """In the first piece, if requested: the scores of each id of the prompt except the first."""


class Choice:
    """A request to the engine, and its text."""

    def __init__(self, index: int, request: Request, text: Text, forms: Sequence[str] = ()) -> None:
        """`forms` are the fields that request the form of the reply, for errors."""
        self.index, self.request, self.text, self.forms = index, request, text, forms
        request.watch = self._watch
        self.asked = self.last = time.perf_counter()  # seconds, as are the next two
        self.began: float | None = None
        self.first: float | None = None
        self.counted = 0  # tokens already counted by the metrics
        self.shown: list[str] = []
        """The pieces of text so far."""
        self.ended: Callable[[Choice], None] | None = None
        """Called in the event loop when the reply has ended."""
        self._new, self._length = "", 0  # text since the last piece, and characters in all pieces
        self._given, self._begun = 0, False  # tokens in all pieces, and whether there was one

    @property
    def error(self) -> UserError | None:
        """The engine's error of the request, in the words of the client's fields."""
        error = self.request.error
        if not isinstance(error, NothingLeftError):
            return error
        fields = {"constraint": self.forms, "allowed_ids": ["allowed_token_ids"], "banned": ["bad_words"]}
        names = [name for setting in error.settings for name in fields.get(setting, [setting])]
        return FieldError(names[0], error.named(names))

    def take(self) -> ChoicePiece | None:
        """Return what is new, or None if nothing can be shown yet."""
        request, start = self.request, self._given
        if request.finish:
            self._new += self.text.close()
        elif not self._new:
            return None
        text, self._new = self._new, ""
        self.shown.append(text)
        self._length += len(text)
        offsets = self.text.offsets
        end = len(request.ids) if request.finish else bisect_left(offsets, self._length, start)
        prompt = () if self._begun else request.prompt_scores
        self._given, self._begun = end, True
        return ChoicePiece(
            self.index,
            text,
            request.ids[start:end],
            [min(offset, self._length) for offset in offsets[start:end]],
            request.logprobs[start:end],
            request.tops[start:end],
            end,
            request.finish,
            prompt,
        )

    def _watch(self, token: int) -> bool:
        enough = len(self.request.ids) >= self.request.sampling.min_tokens
        self._new += self.text.push(token, stops=enough)
        return self.text.stopped


class SilentChoice(Choice):
    """A choice of which only the prompt counts: its reply, one token, is not shown."""

    def take(self) -> ChoicePiece | None:
        """Return the scores of the prompt without a reply, once the prompt is read."""
        piece = super().take() if self.request.finish else None
        if piece is None:
            return None
        names = (field.name for field in fields(piece) if field.name != "prompt")
        empty: dict[str, Any] = {name: [] for name in names if isinstance(getattr(piece, name), list)}
        return replace(piece, text="", tokens=0, finish="length" if piece.finish == "stop" else piece.finish, **empty)


def joined(pieces: Sequence[ChoicePiece]) -> ChoicePiece:
    """Join all pieces of one choice."""
    return replace(
        pieces[-1],
        text="".join(piece.text for piece in pieces),
        ids=[token for piece in pieces for token in piece.ids],
        offsets=[offset for piece in pieces for offset in piece.offsets],
        logprobs=[logprob for piece in pieces for logprob in piece.logprobs],
        tops=[top for piece in pieces for top in piece.tops],
        prompt=pieces[0].prompt,
    )
