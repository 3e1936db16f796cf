"""Pieces of replies as OpenAI's objects: whole choices, and the chunks of a stream.

A shape keeps the state of one response between pieces: which choices have begun, and which part of their text is a tool
call.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sayso.reply.parser import ReplyParser
from sayso.serve.call_format import CallFormat
from sayso.serve.choice import ChoicePiece
from sayso.serve.echo import EchoedPrompt
from sayso.serve.logprobs import ReportedLogprobs
from sayso.token.reasoning import Reasoning

ResponseChunk = dict[str, Any]
"""The fields in which chunks of one stream differ: `choices`, and further ones."""


class Shape(Protocol):
    """The format of the choices of one kind of response, whole and streamed."""

    kind: str
    chunk: str
    prefix: str

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a finished choice, given as one piece."""

    def opening(self, index: int) -> list[ResponseChunk]:
        """Return the chunks that precede the first tokens of a choice."""

    def parts(self, piece: ChoicePiece) -> list[ResponseChunk]:
        """Return the chunks for one more piece."""


class ChatShape:
    """Choices with a message, or with the deltas of one."""

    kind, chunk, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(
        self,
        reported: ReportedLogprobs,
        prompt: Sequence[int],
        *,
        calls: CallFormat | None = None,
        reasoning: Reasoning = "none",
    ) -> None:
        """Take the token details, the prompt's ids, and whether the text may contain calls, in which format.

        `reasoning`: whether it may begin with reasoning.
        """
        self.reported, self.prompt, self.calls, self.reasoning = reported, prompt, calls, reasoning
        self._format = calls or CallFormat()
        self._parsers: dict[int, ReplyParser] = {}

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a choice with its message."""
        parser = self._parser()
        parser.push(piece.text)
        parser.close(cut=piece.finish != "stop")
        message = self._format.message(parser) | {"refusal": None}
        finish = self._format.finish(parser, piece.finish)
        choice = {"index": piece.index, "message": message, "logprobs": self.reported.chat(piece)}
        return choice | {"finish_reason": finish} | _ids(self.reported, piece)

    def opening(self, index: int) -> list[ResponseChunk]:
        """Return the delta with the role; the first one of the stream comes with the prompt's ids, if requested."""
        chunk: ResponseChunk = {"choices": [_delta(index, {"role": "assistant", "content": ""})]}
        if self.reported.ids and not self._parsers:
            chunk["prompt_token_ids"] = self.prompt
        self._parsers[index] = self._parser()
        return [chunk]

    def parts(self, piece: ChoicePiece) -> list[ResponseChunk]:
        """Return deltas with text or calls, and at the end an empty one with the finish reason."""
        parser, finish = self._parsers[piece.index], piece.finish
        deltas = list(self._format.deltas(parser, parser.push(piece.text)))
        if finish:
            deltas += self._format.deltas(parser, parser.close(cut=finish != "stop"))
            finish = self._format.finish(parser, finish)
        if piece.ids and not deltas and (self.reported.ids or self.reported.tops is not None):
            deltas.append({})  # details of tokens without text
        choices = [_delta(piece.index, delta) for delta in deltas]
        if choices:
            choices[0] |= {"logprobs": self.reported.chat(piece)} | _ids(self.reported, piece)
        if finish:
            choices.append(_delta(piece.index, {}, finish))
        return [{"choices": [choice]} for choice in choices]

    def _parser(self) -> ReplyParser:
        return ReplyParser(calls=self.calls is not None, reasoning=self.reasoning)


@dataclass
class TextShape:
    """Choices with plain text, each after its prompt if requested."""

    reported: ReportedLogprobs
    prompts: Sequence[Sequence[int]]
    n: int = 1
    """Number of choices per prompt."""
    echo: Sequence[EchoedPrompt] | None = None
    """The prompts, if they are to be echoed."""
    kind: str = "text_completion"
    chunk: str = "text_completion"
    prefix: str = "cmpl"
    _begun: set[int] = field(default_factory=set)
    """Choices of which a part has been sent."""

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a choice with its text."""
        return self._choice(piece, piece.finish)

    def opening(self, index: int) -> list[ResponseChunk]:  # noqa: ARG002 - the protocol's
        """Return nothing: the first tokens come with all that precedes them."""
        return []

    def parts(self, piece: ChoicePiece) -> list[ResponseChunk]:
        """Return a choice with more text; the last has the finish reason."""
        if not piece.text and not piece.finish and piece.index in self._begun:
            return []
        return [{"choices": [self._choice(piece, piece.finish or None)]}]

    def _choice(self, piece: ChoicePiece, finish: str | None) -> dict[str, Any]:
        """Return a choice; the first part of each has its prompt's ids and echo, if requested."""
        first, number = piece.index not in self._begun, piece.index // self.n
        self._begun.add(piece.index)
        choice: dict[str, Any] = {"index": piece.index, "text": piece.text}
        if self.echo is None:
            choice["logprobs"] = self.reported.completion(piece.ids, piece.offsets, piece.logprobs, piece.tops)
        else:
            choice |= self._echoed(piece, self.echo[number], first)
        choice |= {"finish_reason": finish} | _ids(self.reported, piece)
        return choice | ({"prompt_token_ids": self.prompts[number]} if first and self.reported.ids else {})

    def _echoed(self, piece: ChoicePiece, prompt: EchoedPrompt, first: bool) -> dict[str, Any]:
        """Return text and log-probabilities that follow those of a prompt; the first ones include them."""
        offsets = [len(prompt.text) + offset for offset in piece.offsets]
        if not first:
            return {"logprobs": self.reported.completion(piece.ids, offsets, piece.logprobs, piece.tops)}
        logprobs = [None, *(score.logprob for score in piece.prompt), *piece.logprobs]
        tops = [{}, *(score.tops for score in piece.prompt), *piece.tops]
        ids, offsets = [*prompt.ids, *piece.ids], [*prompt.offsets, *offsets]
        return {"text": prompt.text + piece.text, "logprobs": self.reported.completion(ids, offsets, logprobs, tops)}


def _delta(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _ids(reported: ReportedLogprobs, piece: ChoicePiece) -> dict[str, Any]:
    return {"token_ids": piece.ids} if reported.ids else {}


def new_head(kind: str, prefix: str, model: str, fingerprint: str) -> dict[str, Any]:
    """Return the fields that all objects of one response share."""
    made = int(time.time())
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": made,
        "model": model,
        "system_fingerprint": fingerprint,
    }


def usage(prompt_tokens: int, completion_tokens: int, reused: int, reasoning: int) -> dict[str, Any]:
    """Return the number of tokens in OpenAI's format."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reused},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
