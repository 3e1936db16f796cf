"""The served model as the routes see it: ids enter, pieces of text and then what it took leave.

Counting and checking happen before a request is queued, so that a prompt without room is refused at once and with
numbers; speaking happens in the worker's thread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sayso.reply import Replier, Stream
from sayso.reply.text import Text
from sayso.reply.window import fit
from sayso.sample.engine import room
from sayso.sample.generate import stream
from sayso.sample.sampling import Sampling
from sayso.serve.errors import ApiError


@dataclass(frozen=True)
class Piece:
    """Some more text of choice `index`, which has so many tokens now."""

    index: int
    text: str
    tokens: int


@dataclass(frozen=True)
class End:
    """Choice `index` has ended: why, and how many tokens it has."""

    index: int
    finish: str
    tokens: int


@dataclass(frozen=True)
class Voice:
    """A replier with the name it is served under and the fingerprint of its weights."""

    replier: Replier
    name: str
    fingerprint: str

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""
        return self.replier.context

    def chat_ids(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Return the ids that ask for the next reply; `ApiError` when they leave no room."""
        return self._checked(self.replier.prompt_ids(messages), "messages")

    def text_ids(self, prompt: str | Sequence[int]) -> list[int]:
        """Return the ids of a raw prompt; ids are taken as they are. `ApiError` when they cannot be used."""
        if isinstance(prompt, str):
            return self._checked(self.replier.text_ids(prompt), "prompt")
        ids, size = list(prompt), self.replier.model.config.vocab_size
        if not ids:
            raise ApiError(400, "A prompt needs at least one token; got an empty one.", "invalid_value", "prompt")
        if min(ids) < 0 or max(ids) >= size:
            raise ApiError(400, f"A prompt's ids are from 0 to {size - 1}.", "invalid_value", "prompt")
        return self._checked(ids, "prompt")

    def fit(self, messages: list[dict[str, Any]], tokens: int) -> tuple[list[dict[str, Any]], int]:
        """Leave out the oldest turns when there is no room for `tokens` more; return the rest, and how many went.

        At most half of the context is kept free, so that what was just said is not given up for a long reply.
        """
        reserve = min(tokens, self.context // 2)
        return fit(messages, lambda turns: len(self.replier.prompt_ids(turns)), self.context, reserve)

    def speak(self, ids: Sequence[int], sampling: Sampling, choices: int = 1, first: int = 0) -> Iterator[Piece | End]:
        """Say `choices` replies one after another, numbered from `first`; the seed gives each another text."""
        for index in range(first, first + choices):
            limit = room(self.replier.model, ids, sampling)
            tokens = stream(self.replier.model, ids, sampling, self.replier.stop_ids, row=index - first)
            said = Stream(tokens, Text(self.replier.tokenizer, sampling.stop), len(ids), limit)
            for piece in said:
                yield Piece(index, piece, said.completion_tokens)
            yield End(index, said.finish or "stop", said.completion_tokens)

    def _checked(self, ids: list[int], param: str) -> list[int]:
        if len(ids) >= self.context:
            raise ApiError(
                400,
                f"This model's context is {self.context} tokens and must have room for a reply; "
                f"the prompt has {len(ids)} tokens. Shorten it.",
                "context_length_exceeded",
                param,
            )
        return ids
