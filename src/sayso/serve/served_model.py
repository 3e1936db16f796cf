"""The served model as the routes see it: takes ids, returns a job whose pieces can be awaited.

Counting and checking happen before a request is queued, so that a prompt without room is rejected at once and with
numbers; generation happens in the engine's thread.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest

from sayso.base.errors import nearest
from sayso.model.score import score_head
from sayso.reply import Replier
from sayso.reply.text import Text
from sayso.reply.window import fit_window
from sayso.sample.blocks import BLOCK
from sayso.sample.grammar import either
from sayso.sample.guide import GrammarConstraint, Guide
from sayso.sample.request import Request
from sayso.sample.sampling import seeded
from sayso.serve.choice import Choice, SilentChoice
from sayso.serve.errors import ApiError, naming
from sayso.serve.recording import Asker, Expected, Recorder, Speaker, asker_of
from sayso.serve.terms import Reader, ReplyTerms, check_least, sampling_defaults
from sayso.serve.traffic import note_model, note_queued
from sayso.serve.worker import ClosingError, EngineJob, QueueFullError, Worker
from sayso.text.document import Message, Messages
from sayso.token.chat import prompt_ids

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ServedModel:
    """A replier with the name it is served under, the fingerprint of its weights, and its engine's thread."""

    replier: Replier
    name: str
    fingerprint: str
    worker: Worker
    alias: str | None = None
    """Another name of it, which may become that of another model."""
    recorder: Recorder | None = None
    """Stores the replies to the API's requests; they are not stored without it."""
    stands_in: str | None = None
    """The alias of another model, some of whose requests it answers as a canary."""
    others: set[str] = field(default_factory=set)
    """Further aliases of the model that it is or stands in for. They change while the server runs."""

    def __post_init__(self) -> None:
        sampling_defaults(self.replier.tokenizer)  # invalid ones are an error at the start, not of each request

    @property
    def context(self) -> int:
        """Maximum number of tokens of prompt and reply together."""
        return min(self.replier.context, self.worker.engine.blocks.count * BLOCK)

    @property
    def adapters(self) -> list[str]:
        """The names of the engine's adapters, which clients see as models."""
        return [name for name in self.worker.engine.runners if name]

    @property
    def names(self) -> list[str]:
        """All names that clients may use: its own, its alias, and those of its adapters."""
        return [self.name, *([self.alias] if self.alias else []), *self.adapters]

    def adapter(self, model: str | None) -> str:
        """Return the adapter of a model's name, "" for the model itself; `ApiError` 404 for an unknown name."""
        names = self.names
        if model is not None and model not in (*names, self.stands_in, *self.others):
            there = " or ".join(f"'{name}'" for name in names)
            text = f"There is no model '{model[:100]}' here; this server has {there}.{nearest(model, names)}"
            raise ApiError(404, text, "model_not_found", "model")
        return model if model in self.adapters else ""

    @cached_property
    def reader(self) -> Reader:
        """The parser of request bodies for this model."""
        return Reader(self.replier.tokenizer, self.replier.model.config.vocab_size)

    @cached_property
    def guide(self) -> Guide:
        """Constrains replies to grammars; construction takes a moment."""
        return Guide(self.replier.tokenizer, self.replier.model.config.vocab_size)

    def chat_ids(
        self,
        messages: Messages,
        tools: Messages = (),
        *,
        opened: bool = True,
        continued: bool = False,
        keep: int | None = None,
        reserve: int | None = None,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[int]:
        """Return the ids that ask for the next reply; `ApiError` if they leave no room.

        Without `opened` the assistant's turn is not begun; `continued`: the last message, an assistant's, is continued.
        `keep`: keep only this many of the last ids, -1 as many as leave room. With `reserve`, a conversation that
        leaves no room loses its oldest turns until that many tokens are free, as in `fit`. `variables`: those of the
        chat template.
        """

        def ids_of(turns: Messages) -> list[int]:
            tokenizer = self.replier.tokenizer
            return prompt_ids(tokenizer, turns, reply=opened, tools=tools, continued=continued, variables=variables)

        ids = ids_of(messages)
        if reserve is not None and len(ids) >= self.context:
            ids = ids_of(self.fit(messages, reserve, lambda turns: len(ids_of(turns)))[0])
        return self._checked(ids, "messages", keep)

    def text_ids(
        self,
        prompt: str | Sequence[int],
        *,
        begun: bool = True,
        control: bool = False,
        keep: int | None = None,
        param: str = "prompt",
    ) -> list[int]:
        """Return the ids of a raw prompt, `begun` as the tokenizer begins texts; ids are used unchanged.

        With `control`, the names of control tokens in a text become these tokens. `keep` and errors as in `chat_ids`;
        `param` is the field that they name.
        """
        if isinstance(prompt, str):
            ids = self.replier.start_ids if begun else []
            ids += self.control_ids(prompt) if control else self.replier.tokenizer.encode(prompt)
            if begun and not ids:
                ids = self.replier.text_ids("")
        else:
            ids, size = list(prompt), self.replier.model.config.vocab_size
            if (unknown := next((token for token in ids if not 0 <= token < size), None)) is not None:
                text = f"'{param}' must have token ids from 0 to {size - 1}; got {unknown}."
                raise ApiError(400, text, "invalid_value", param)
        if not ids:
            raise ApiError(400, f"'{param}' must have at least one token; got an empty one.", "invalid_value", param)
        return self._checked(ids, param, keep)

    def control_ids(self, text: str) -> list[int]:
        """Return the ids of a text in which the names of control tokens are these tokens."""
        tokenizer = self.replier.tokenizer
        ids = {name: token for token, name in tokenizer.control.items()}
        pieces = re.split(f"({'|'.join(map(re.escape, sorted(ids, key=len, reverse=True)))})", text)
        return [one for piece in pieces for one in ([ids[piece]] if piece in ids else tokenizer.encode(piece))]

    def fit(
        self, messages: Messages, tokens: int, count: Callable[[Messages], int] | None = None
    ) -> tuple[list[Message], int]:
        """Drop the oldest turns if there is no room for `tokens` more; return the rest, and how many were dropped.

        At most half of the context is reserved, so that recent turns are not dropped for a long reply. `count` returns
        the tokens of a conversation; default: without tools.
        """
        reserve = min(tokens, self.context // 2)
        count = count or (lambda turns: len(self.replier.prompt_ids(turns)))
        return fit_window(messages, count, self.context, reserve)

    @cached_property
    def template(self) -> str | None:
        """A hash of the chat template; None without one."""
        source = self.replier.tokenizer.chat_template
        return None if source is None else hashlib.sha256(source.encode()).hexdigest()

    async def speak(
        self, prompts: Sequence[Sequence[int]], terms: ReplyTerms, asked: HttpRequest | None = None
    ) -> EngineJob:
        """Queue `terms.n` replies to each prompt, numbered prompt by prompt; with a seed each of them is different.

        `asked` is the API's request that they answer, with which they are recorded.
        Raises `ApiError` 429 if too many requests wait, 503 if the server is shutting down, and `UserError` for an
        unsupported grammar.
        """
        if score_head(self.replier.model) is not None:
            text = f"'{self.name}' is a reward model, which generates no text; use /v1/score or /v1/rerank."
            raise ApiError(400, text, "invalid_value", "model")
        choices = await run_in_threadpool(self._choices, prompts, terms)
        if self.recorder is not None and asked is not None and not terms.prompt_only:
            self._follow(self.recorder, choices, terms, await asker_of(asked, terms.adapter or self.name))
        with self._door(terms.adapter):
            job = self.worker.submit(choices)
        note_queued(choices, max(0, self.worker.surplus))
        return job

    def _follow(self, recorder: Recorder, choices: Sequence[Choice], terms: ReplyTerms, asker: Asker) -> None:
        """Record replies when they end."""
        speaker = Speaker(terms.adapter or self.name, self.fingerprint, self.template)
        for choice in choices:
            turns = terms.turns or [{"role": "text", "content": self.replier.tokenizer.decode(choice.request.prompt)}]
            recorder.follow(choice, Expected(speaker, asker, turns, terms.reasoning))

    def _choices(self, prompts: Sequence[Sequence[int]], terms: ReplyTerms) -> list[Choice]:
        tokenizer, choices = self.replier.tokenizer, list[Choice]()
        spelled = tokenizer.control if terms.spells_control else None
        for prompt in prompts:
            limit = min(terms.sampling.max_tokens, self.context - len(prompt))
            check_least(terms.sampling.min_tokens, limit)
            sampling = replace(seeded(terms.sampling), max_tokens=limit)
            for index in range(terms.n):
                guided = self._constraint(terms)
                request = Request(
                    prompt, sampling, index, terms.stop_ids, terms.salt, adapter=terms.adapter, constraint=guided
                )
                request.prompt_tops = terms.prompt_tops
                text = Text(
                    tokenizer,
                    sampling.stop,
                    keep_stop=terms.keep_stop,
                    spelled=spelled,
                    prompt=prompt,
                    calls=terms.calls,
                    reasoning=terms.reasoning,
                )
                kind = SilentChoice if terms.prompt_only else Choice
                choices.append(kind(len(choices), request, text, tuple(terms.forms)))
        return choices

    def _constraint(self, terms: ReplyTerms) -> GrammarConstraint | None:
        """Return the constraint of a reply; `ApiError` names the field whose grammar is not supported."""
        guided = None
        for name, grammar in terms.forms.items():
            try:
                with naming(name):
                    guided = self.guide.constraint(grammar, terms.stop_ids)
            except ApiError:
                self._check_schemas(terms)
                raise
        if len(terms.forms) > 1:
            guided = self.guide.constraint(either(*terms.forms.values()), terms.stop_ids)
        return guided

    def _check_schemas(self, terms: ReplyTerms) -> None:
        """Raise `ApiError` for the tool whose schema is not supported, if it is that of one tool."""
        for name, schema in terms.schemas.items():
            with naming(name):
                self.guide.constraint(schema, terms.stop_ids)

    async def call(self, function: Callable[[], _Value], *, counts: bool = True) -> _Value:
        """Run a function with the model in its thread; errors as in `speak`. `counts`: as a request to the model."""
        with self._door(counts=counts):
            return await self.worker.call(function)

    @contextmanager
    def _door(self, adapter: str = "", *, counts: bool = True) -> Iterator[None]:
        """Convert the worker's refusals to HTTP errors."""
        if counts:
            note_model(adapter or self.name)
        try:
            yield
        except QueueFullError as full:
            text = f"The model is busy and its queue of {self.worker.limit} is full; try again in a few seconds."
            raise ApiError(429, text, "queue_full") from full
        except ClosingError as closing:
            raise ApiError(503, "This server is shutting down and accepts no new requests.", "closing") from closing

    def _checked(self, ids: list[int], param: str, keep: int | None = None) -> list[int]:
        if keep is not None:
            ids = ids[-(keep if keep > 0 else self.context - 1) :]
        if len(ids) >= self.context:
            raise ApiError(
                400,
                f"This model's context is {self.context} tokens, including the reply; "
                f"the prompt has {len(ids)} tokens: shorten it.",
                "context_length_exceeded",
                param,
            )
        return ids
