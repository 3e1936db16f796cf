"""Responses in OpenAI's format: takes prompts and terms, returns a JSON object or a stream of server-sent events.

A client that disconnects stops the generation.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from sayso.serve.shapes import ResponseChunk, Shape, new_head, usage
from sayso.serve.stream import EventStream, collect, event
from sayso.serve.terms import ReplyTerms
from sayso.serve.worker import ClosingError, EngineJob

Extend = Callable[[dict[str, Any], Sequence[ChoicePiece]], None]
"""Adds fields to a response before it is sent, given its choices."""


def _add_nothing(_body: dict[str, Any], _choices: Sequence[ChoicePiece]) -> None:
    """Leave a response as it is."""


@dataclass(frozen=True)
class ApiAnswer:
    """What to generate, with which model, and for which request."""

    served: ServedModel
    request: Request
    prompts: Sequence[list[int]]
    terms: ReplyTerms
    shape: Shape

    async def stream(self, options: StreamOptions) -> Response:
        """Respond with server-sent events."""
        job = await self.served.speak(self.prompts, self.terms, self.request)
        return EventStream(self._events(job, options), partial(self.served.worker.stop, job), waits=job.waits)

    async def whole(self, *, best: int = 0, extend: Extend = _add_nothing) -> Response:
        """Respond with one object, to which `extend` adds. Of `best` replies to each prompt the best n are returned."""
        n = self.terms.n
        job = await self.served.speak(self.prompts, replace(self.terms, n=max(best, n)), self.request)
        pieces = sorted(await collect(self.served.worker, job, self.request), key=lambda piece: piece.index)
        replies = [joined(list(group)) for _, group in groupby(pieces, key=lambda piece: piece.index)]
        used = self._usage(job, sum(reply.tokens for reply in replies))
        if best > n:
            groups = [replies[start : start + best] for start in range(0, len(replies), best)]
            kept = [reply for group in groups for reply in likeliest(group, n)]
            replies = [replace(reply, index=index) for index, reply in enumerate(kept)]
        choices = [self.shape.whole(reply) for reply in replies]
        body = self._head(self.shape.kind) | {"choices": choices, "usage": used}
        extend(body, replies)
        return Json(body)

    def _usage(self, job: EngineJob, tokens: int) -> dict[str, Any]:
        """Return OpenAI's `usage`: each prompt counts once, whatever its number of replies."""
        firsts = job.choices[:: len(job.choices) // len(self.prompts)]
        reused = sum(choice.request.reused for choice in firsts)
        reasoning = sum(choice.text.reasoning_tokens for choice in job.choices)
        return usage(sum(map(len, self.prompts)), tokens, reused, min(reasoning, tokens))

    def _head(self, kind: str) -> dict[str, Any]:
        return new_head(kind, self.shape.prefix, self.terms.adapter or self.served.name, self.served.fingerprint)

    async def _events(self, job: EngineJob, options: StreamOptions) -> AsyncIterator[str]:
        """Yield the events of a stream.

        With usage the last chunk has the counts; the others have null, as with OpenAI, or the counts so far.
        """
        head, tokens = self._head(self.shape.chunk), dict[int, int]()

        def chunk(fields: ResponseChunk) -> str:
            extra = {}
            if options.include_usage:
                used = self._usage(job, sum(tokens.values())) if options.continuous_usage_stats else None
                extra = {"usage": used}
            return event(head | fields | extra)

        try:
            async for piece in job:
                for opening in self.shape.opening(piece.index) if piece.index not in tokens else []:
                    yield chunk(opening)
                tokens[piece.index] = piece.tokens
                for part in self.shape.parts(piece):
                    yield chunk(part)
        except Exception as error:  # the status is sent already: the stream itself must report it
            yield event(failure(error))
            if isinstance(error, UserError | ClosingError):
                return
            raise
        if options.include_usage:
            yield event(head | {"choices": [], "usage": self._usage(job, sum(tokens.values()))})
        yield "data: [DONE]\n\n"


def likeliest(replies: Sequence[ChoicePiece], n: int) -> list[ChoicePiece]:
    """Return the n replies with the highest mean log-probability per token, best first (OpenAI's `best_of`)."""

    def mean(reply: ChoicePiece) -> float:
        return sum(reply.logprobs) / max(len(reply.logprobs), 1)

    return sorted(replies, key=mean, reverse=True)[:n]
