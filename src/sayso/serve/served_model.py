"""The served model as the routes see it: ids enter, a job whose pieces can be listened to leaves.

Counting and checking happen before a request is queued, so that a prompt without room is refused at once and with
numbers; the speaking happens in the engine's thread.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

from sayso.base.errors import nearest
from sayso.reply import Replier
from sayso.reply.text import Text
from sayso.reply.window import fit
from sayso.sample.blocks import BLOCK
from sayso.sample.grammar import either
from sayso.sample.guide import GrammarConstraint, Guide
from sayso.sample.request import Request
from sayso.sample.sampling import seeded
from sayso.serve.choice import Choice
from sayso.serve.errors import ApiError, naming
from sayso.serve.terms import Reader, ReplyTerms
from sayso.serve.worker import ClosingError, EngineJob, QueueFullError, Worker
from sayso.token.chat import prompt_ids

Value = TypeVar("Value")


@dataclass(frozen=True)
class ServedModel:
    """A replier with the name it is served under, the fingerprint of its weights, and the thread it speaks in."""

    replier: Replier
    name: str
    fingerprint: str
    worker: Worker

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""
        return min(self.replier.context, self.worker.engine.blocks.count * BLOCK)

    @property
    def adapters(self) -> list[str]:
        """The names of the engine's adapters, which are models to whoever asks."""
        return [name for name in self.worker.engine.runners if name]

    def adapter(self, model: str | None) -> str:
        """Return the adapter that a model's name means, "" for the model itself; `ApiError` 404 for no name of ours."""
        names = [self.name, *self.adapters]
        if model is not None and model not in names:
            there = " or ".join(f"'{name}'" for name in names)
            text = f"There is no model '{model[:100]}' here; this server has {there}.{nearest(model, names)}"
            raise ApiError(404, text, "model_not_found", "model")
        return model if model in self.adapters else ""

    @cached_property
    def reader(self) -> Reader:
        """What reads bodies for this model."""
        return Reader(self.replier.tokenizer, self.replier.model.config.vocab_size)

    @cached_property
    def guide(self) -> Guide:
        """What holds replies to grammars; it takes a moment to make."""
        return Guide(self.replier.tokenizer, self.replier.model.config.vocab_size)

    def chat_ids(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] = (),
        *,
        opened: bool = True,
        continued: bool = False,
        keep: int | None = None,
    ) -> list[int]:
        """Return the ids that ask for the next reply; `ApiError` when they leave no room.

        Without `opened` the assistant's turn is not begun; `continued`: the last message, an assistant's, goes on.
        `keep`: only so many of the last ids stay, -1 as many as leave room.
        """
        ids = prompt_ids(self.replier.tokenizer, messages, reply=opened, tools=tools, continued=continued)
        return self._checked(ids, "messages", keep)

    def text_ids(
        self, prompt: str | Sequence[int], *, begun: bool = True, keep: int | None = None, param: str = "prompt"
    ) -> list[int]:
        """Return the ids of a raw prompt, `begun` as a document is; ids are taken as they are.

        `keep` and errors as in `chat_ids`; `param` is the field that they name.
        """
        if isinstance(prompt, str):
            ids = self.replier.text_ids(prompt) if begun else self.replier.tokenizer.encode(prompt)
        else:
            ids, size = list(prompt), self.replier.model.config.vocab_size
            if any(not 0 <= token < size for token in ids):
                raise ApiError(400, f"A prompt's ids are from 0 to {size - 1}.", "invalid_value", param)
        if not ids:
            raise ApiError(400, "A prompt needs at least one token; got an empty one.", "invalid_value", param)
        return self._checked(ids, param, keep)

    def fit(self, messages: list[dict[str, Any]], tokens: int) -> tuple[list[dict[str, Any]], int]:
        """Leave out the oldest turns when there is no room for `tokens` more; return the rest, and how many went.

        At most half of the context is kept free, so that what was just said is not given up for a long reply.
        """
        reserve = min(tokens, self.context // 2)
        return fit(messages, lambda turns: len(self.replier.prompt_ids(turns)), self.context, reserve)

    async def speak(self, prompts: Sequence[Sequence[int]], terms: ReplyTerms) -> EngineJob:
        """Queue `terms.n` replies to each prompt, numbered prompt by prompt; the seed gives each of one another text.

        Raises `ApiError` 429 when too many requests wait, 503 when the server is about to end, and `UserError` for a
        grammar that cannot be followed.
        """
        choices = await run_in_threadpool(self._choices, prompts, terms)
        with self._door():
            return self.worker.submit(choices)

    def _choices(self, prompts: Sequence[Sequence[int]], terms: ReplyTerms) -> list[Choice]:
        tokenizer, choices = self.replier.tokenizer, list[Choice]()
        spelled = tokenizer.control if terms.spells_control else None
        for prompt in prompts:
            limit = min(terms.sampling.max_tokens, self.context - len(prompt))
            sampling = replace(seeded(terms.sampling), max_tokens=limit)
            for index in range(terms.n):
                guided = self._constraint(terms)
                request = Request(
                    prompt, sampling, index, terms.stop_ids, terms.salt, adapter=terms.adapter, constraint=guided
                )
                request.prompt_tops = terms.prompt_tops
                text = Text(tokenizer, sampling.stop, keep_stop=terms.keep_stop, spelled=spelled)
                choices.append(Choice(len(choices), request, text))
        return choices

    def _constraint(self, terms: ReplyTerms) -> GrammarConstraint | None:
        """Return what holds a reply to its forms; `ApiError` names the field whose grammar cannot be followed."""
        guided = None
        for name, grammar in terms.forms.items():
            with naming(name):
                guided = self.guide.constraint(grammar, terms.stop_ids)
        if len(terms.forms) > 1:
            guided = self.guide.constraint(either(*terms.forms.values()), terms.stop_ids)
        return guided

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
            raise ApiError(503, "This server is shutting down and takes nothing new.", "closing") from closing

    def _checked(self, ids: list[int], param: str, keep: int | None = None) -> list[int]:
        if keep is not None:
            ids = ids[-(keep if keep > 0 else self.context - 1) :]
        if len(ids) >= self.context:
            raise ApiError(
                400,
                f"This model's context is {self.context} tokens and must have room for a reply; "
                f"the prompt has {len(ids)} tokens. Shorten it.",
                "context_length_exceeded",
                param,
            )
        return ids
