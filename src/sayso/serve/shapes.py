"""Pieces of replies as OpenAI's objects: whole choices, and the chunks of a stream.

A shape keeps the state of one response between pieces: which choices have begun, the length of their text, and
which part of it is a tool call.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sayso.reply.calls import ToolCalls
from sayso.serve.choice import ChoicePiece
from sayso.token.tokenizer import Tokenizer

_LEAST = -9999.0  # JSON has no infinity; vLLM and OpenAI write this


class Shape(Protocol):
    """The format of the choices of one kind of response, whole and streamed."""

    kind: str
    chunk: str
    prefix: str

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a finished choice, as one piece."""

    def parts(self, piece: ChoicePiece) -> list[dict[str, Any]]:
        """Return the chunks for one more piece."""


@dataclass(frozen=True)
class ReportedLogprobs:
    """Which token details to return with the text."""

    tokenizer: Tokenizer
    tops: int | None = None
    """Number of likeliest ids per position; None: no log-probabilities."""
    ids: bool = False
    """Whether to return the ids themselves."""
    named_by_id: bool = False
    """Whether a token is named `token_id:N` instead of by its text."""

    def name(self, token: int) -> str:
        """Return the name of a token."""
        if self.named_by_id:
            return f"token_id:{token}"
        return self.tokenizer.control.get(token) or self.text(token)

    def text(self, token: int) -> str:
        """Return the text of a single token."""
        return self.tokenizer.decode([token]) if token < self.tokenizer.vocab_size else ""

    def chat(self, piece: ChoicePiece) -> dict[str, Any] | None:
        """Return the `logprobs` of a chat."""
        if self.tops is None:
            return None
        told, tops = [], piece.tops or [{} for _ in piece.ids]
        for token, logprob, top in zip(piece.ids, piece.logprobs, tops, strict=True):
            likeliest = [self._entry(*one) for one in top.items()]
            told.append(self._entry(token, logprob) | {"top_logprobs": likeliest})
        return {"content": told, "refusal": None}

    def completion(
        self,
        ids: Sequence[int],
        logprobs: Sequence[float | None],
        tops: Sequence[dict[int, float] | None],
        offset: int = 0,
    ) -> dict[str, Any] | None:
        """Return the `logprobs` of a completion that starts at character `offset`."""
        if self.tops is None:
            return None
        offsets = []
        for token in ids:
            offsets.append(offset)
            offset += len(self.text(token))
        return {
            "tokens": [self.name(token) for token in ids],
            "token_logprobs": [None if logprob is None else max(logprob, _LEAST) for logprob in logprobs],
            "top_logprobs": [self._named(top) for top in tops] if self.tops else None,
            "text_offset": offsets,
        }

    def prompt(self, ids: Sequence[int], piece: ChoicePiece, top: int) -> list[dict[str, Any] | None]:
        """Return vLLM's `prompt_logprobs`: for each position its own id and the likeliest, each with its rank."""
        told: list[dict[str, Any] | None] = [None]
        for token, score in zip(ids[1:], piece.prompt, strict=True):
            likeliest = enumerate(list(score.tops.items())[:top], 1)
            kept = {one: (rank, value) for rank, (one, value) in likeliest} | {token: (score.rank, score.logprob)}
            told.append(
                {
                    str(one): {"logprob": max(value, _LEAST), "rank": rank, "decoded_token": self.name(one)}
                    for one, (rank, value) in kept.items()
                }
            )
        return told

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        known = token < self.tokenizer.vocab_size
        data = list(self.tokenizer.decode_bytes([token])) if known else []
        return {"token": self.name(token), "logprob": max(logprob, _LEAST), "bytes": data}

    def _named(self, top: dict[int, float] | None) -> dict[str, float] | None:
        if top is None:
            return None
        found: dict[str, float] = {}
        # Of two ids with the same text the likelier, earlier one is kept.
        for token, logprob in list(top.items())[: self.tops]:
            found.setdefault(self.name(token), max(logprob, _LEAST))
        return found


class ChatShape:
    """Choices with a message, or with the deltas of one."""

    kind, chunk, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, telling: ReportedLogprobs, *, calls: bool = False) -> None:
        """Take the token details, and whether the text may contain tool calls."""
        self.telling, self.calls = telling, calls
        self._reading: dict[int, ToolCalls] = {}

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a choice with its message."""
        finish, message = piece.finish, {"role": "assistant", "content": piece.text, "refusal": None}
        if self.calls:
            reading = ToolCalls()
            reading.push(piece.text)
            reading.close()
            message |= reading.message()
            finish = "tool_calls" if reading.calls and finish == "stop" else finish
        choice = {"index": piece.index, "message": message, "logprobs": self.telling.chat(piece)}
        return choice | {"finish_reason": finish} | _ids(self.telling, piece)

    def parts(self, piece: ChoicePiece) -> list[dict[str, Any]]:
        """The first delta names the role; those with text or calls follow; an empty one has the finish reason."""
        deltas: list[dict[str, Any]] = []
        if piece.index not in self._reading:
            self._reading[piece.index] = ToolCalls()
            deltas.append({"role": "assistant", "content": ""})
        reading, finish = self._reading[piece.index], piece.finish
        before = len(deltas)
        if self.calls:
            deltas += [delta.openai() for delta in reading.push(piece.text)]
            if finish:
                deltas += [delta.openai() for delta in reading.close()]
                finish = "tool_calls" if reading.calls and finish == "stop" else finish
        elif piece.text:
            deltas.append({"content": piece.text})
        if piece.ids and len(deltas) == before and (self.telling.ids or self.telling.tops is not None):
            deltas.append({})  # details of tokens without text
        choices = [self._choice(piece.index, delta, None, None) for delta in deltas]
        if len(deltas) > before:
            choices[before] |= {"logprobs": self.telling.chat(piece)} | _ids(self.telling, piece)
        return [*choices, *([self._choice(piece.index, {}, finish, None)] if finish else [])]

    def _choice(self, index: int, delta: dict[str, Any], finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


@dataclass
class TextShape:
    """Choices with plain text, each after its prompt if requested."""

    telling: ReportedLogprobs
    n: int = 1
    """Number of choices per prompt."""
    echo: Sequence[list[int]] | None = None
    """The prompts, if they are to be echoed."""
    kind: str = "text_completion"
    chunk: str = "text_completion"
    prefix: str = "cmpl"
    _said: dict[int, int] = field(default_factory=dict)
    """Number of characters already sent, per choice."""

    def whole(self, piece: ChoicePiece) -> dict[str, Any]:
        """Return a choice with its text."""
        return self._choice(piece, piece.finish)

    def parts(self, piece: ChoicePiece) -> list[dict[str, Any]]:
        """Return a choice with more text; the last has the finish reason."""
        if not piece.text and not piece.finish and piece.index in self._said:
            return []
        return [self._choice(piece, piece.finish or None)]

    def _choice(self, piece: ChoicePiece, finish: str | None) -> dict[str, Any]:
        text, offset, ids = piece.text, self._said.get(piece.index, 0), piece.ids
        logprobs: list[float | None] = [*piece.logprobs]
        tops: list[dict[int, float] | None] = [*(piece.tops or [{} for _ in ids])]
        if self.echo is not None and piece.index not in self._said:
            prompt = self.echo[piece.index // self.n]
            text, ids = self.telling.tokenizer.decode(prompt) + text, [*prompt, *ids]
            logprobs = [None, *(score.logprob for score in piece.prompt), *logprobs]
            tops = [None, *(score.tops for score in piece.prompt), *tops]
        self._said[piece.index] = offset + len(text)
        choice = {"index": piece.index, "text": text, "logprobs": self.telling.completion(ids, logprobs, tops, offset)}
        return choice | {"finish_reason": finish} | _ids(self.telling, piece)


def _ids(telling: ReportedLogprobs, piece: ChoicePiece) -> dict[str, Any]:
    return {"token_ids": piece.ids} if telling.ids else {}


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


def usage(prompt_tokens: int, completion_tokens: int, reused: int) -> dict[str, Any]:
    """Return the number of tokens in OpenAI's format."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reused},
    }
