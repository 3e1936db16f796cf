"""Responses in OpenAI's format: takes prompts and terms, returns a JSON object or a stream of server-sent events.

A client that disconnects stops the generation.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from sayso.base.errors import UserError
from sayso.serve.choice import ChoicePiece, joined
from sayso.serve.encode import Json
from sayso.serve.errors import failure
from sayso.serve.fields import StreamOptions
from sayso.serve.served_model import ServedModel
from sayso.serve.shapes import Shape, new_head, usage
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.terms import ReplyTerms
from sayso.serve.worker import ClosingError, EngineJob

More = Callable[[dict[str, Any], Sequence[ChoicePiece]], None]
"""Adds to an object before it is sent, given the choices."""


def no_more(_body: dict[str, Any], _said: Sequence[ChoicePiece]) -> None:
    """Add nothing."""


@dataclass(frozen=True)
class ApiAnswer:
    """What to generate, with which model, and for which request."""

    voice: ServedModel
    request: Request
    prompts: Sequence[list[int]]
    terms: ReplyTerms
    shape: Shape

    async def stream(self, options: StreamOptions) -> Response:
        """Respond with server-sent events."""
        job = await self.voice.speak(self.prompts, self.terms)
        return EventStream(self._events(job, options), self.voice.worker, job)

    async def whole(self, *, best: int = 0, unsaid: bool = False, more: More = no_more) -> Response:
        """Respond with one object, to which `more` adds. Of `best` replies to each prompt the best n are returned.

        `unsaid`: return only the scores of the prompts.
        """
        n = self.terms.n
        job = await self.voice.speak(self.prompts, replace(self.terms, n=max(best, n)))
        pieces = sorted(await collect(self.voice.worker, job, self.request), key=lambda piece: piece.index)
        said = [joined(list(group)) for _, group in groupby(pieces, key=lambda piece: piece.index)]
        if unsaid:
            said = [replace(one, text="", ids=[], logprobs=[], tops=[], tokens=0, finish="length") for one in said]
        used = self._usage(job, sum(piece.tokens for piece in said))
        if best > n:
            said = [piece for start in range(0, len(said), best) for piece in likeliest(said[start : start + best], n)]
            said = [replace(piece, index=index) for index, piece in enumerate(said)]
        body = self._head(self.shape.kind) | {"choices": [self.shape.whole(piece) for piece in said], "usage": used}
        more(body, said)
        return Json(body)

    def _usage(self, job: EngineJob, tokens: int) -> dict[str, Any]:
        """Return OpenAI's `usage`: each prompt counts once, whatever its number of replies."""
        firsts = job.choices[:: len(job.choices) // len(self.prompts)]
        return usage(sum(map(len, self.prompts)), tokens, sum(choice.request.reused for choice in firsts))

    def _head(self, kind: str) -> dict[str, Any]:
        return new_head(kind, self.shape.prefix, self.terms.adapter or self.voice.name, self.voice.fingerprint)

    async def _events(self, job: EngineJob, options: StreamOptions) -> AsyncIterator[str]:
        """Yield the events of a stream; with usage, every chunk but the last has null, as with OpenAI."""
        head, told = self._head(self.shape.chunk), dict.fromkeys(range(len(job.choices)), 0)
        extra: dict[str, Any] = {"usage": None} if options.include_usage else {}
        try:
            async for piece in job:
                told[piece.index] = piece.tokens
                if options.continuous_usage_stats:
                    extra = {"usage": self._usage(job, sum(told.values()))}
                for choice in self.shape.parts(piece):
                    yield event(head | {"choices": [choice]} | extra)
        except Exception as error:  # the status is sent already: the stream itself must report it
            yield event(failure(error))
            if isinstance(error, UserError | ClosingError):
                return
            raise
        if options.include_usage:
            yield event(head | {"choices": [], "usage": self._usage(job, sum(told.values()))})
        yield "data: [DONE]\n\n"


def likeliest(said: Sequence[ChoicePiece], n: int) -> list[ChoicePiece]:
    """Return the n replies with the highest mean log-probability per token, best first (OpenAI's `best_of`)."""

    def mean(piece: ChoicePiece) -> float:
        return sum(piece.logprobs) / max(len(piece.logprobs), 1)

    return sorted(said, key=mean, reverse=True)[:n]
