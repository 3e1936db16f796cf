"""The served model as the routes see it: ids enter, a job whose pieces can be listened to leaves.

Counting and checking happen before a request is queued, so that a prompt without room is refused at once and with
numbers; the speaking happens in the engine's thread.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sayso.reply import Replier
from sayso.reply.text import Text
from sayso.reply.window import fit
from sayso.sample.blocks import BLOCK
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling, seeded
from sayso.serve.choice import Choice
from sayso.serve.errors import ApiError
from sayso.serve.worker import ClosingError, Job, QueueFullError, Worker

Value = TypeVar("Value")


@dataclass(frozen=True)
class Voice:
    """A replier with the name it is served under, the fingerprint of its weights, and the thread it speaks in."""

    replier: Replier
    name: str
    fingerprint: str
    worker: Worker

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""
        return min(self.replier.context, self.worker.engine.blocks.count * BLOCK)

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

    def speak(self, prompts: Sequence[Sequence[int]], sampling: Sampling, n: int = 1) -> Job:
        """Queue `n` replies to each prompt, numbered prompt by prompt; the seed gives each of a prompt another text.

        Raises `ApiError` 429 when too many requests wait, and 503 when the server is about to end.
        """
        choices = []
        for place, prompt in enumerate(prompts):
            limit = replace(seeded(sampling), max_tokens=min(sampling.max_tokens, self.context - len(prompt)))
            for index in range(n):
                request = Request(prompt, limit, index, self.replier.stop_ids)
                choices.append(Choice(place * n + index, request, Text(self.replier.tokenizer, sampling.stop)))
        with self._door():
            return self.worker.submit(choices)

    async def call(self, function: Callable[[], Value]) -> Value:
        """Run something else with the model in its thread; errors as in `speak`."""
        with self._door():
            return await self.worker.call(function)

    @contextmanager
    def _door(self) -> Iterator[None]:
        """Say as HTTP has it that nothing more can be taken."""
        try:
            yield
        except QueueFullError as full:
            text = f"The model is busy and {self.worker.limit} requests wait already; try again in a few seconds."
            raise ApiError(429, text, "queue_full") from full
        except ClosingError as closing:
            raise ApiError(503, "This server is about to end and takes nothing new.", "closing") from closing

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
