"""Models behind another server's OpenAI-compatible API: takes turns, yields the text of a streamed reply.

What is stored of a reply is what that server tells: the model's name, the reason for the end, and the numbers of
tokens. Its token ids are not known.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.feedback.generations import RecordedReply
from sayso.feedback.storable import storable
from sayso.feedback.store import Generation
from sayso.feedback.traces import Trace
from sayso.judge.endpoint import Endpoint
from sayso.reply.reasoning import split_reasoning
from sayso.serve.errors import ApiError
from sayso.serve.recording import Asker
from sayso.serve.traffic import note_model
from sayso.token.template import THINK, THINK_END

LISTING, KNOWN = 5.0, 60.0  # seconds to wait for the list of models, and for which it is kept
MOST_NAMES = 500
LONGEST_NAME, LONGEST_FINISH, LONGEST_FINGERPRINT = 200, 16, 64  # characters that are stored


@dataclass(eq=False)
class Remote:
    """The models of an endpoint. All methods are for the event loop, except `look`."""

    endpoint: Endpoint
    model: str | None = None
    """The model that replies unless another one is asked for; None = the first one that the server lists."""
    closing: bool = False
    """Whether no new requests are accepted."""
    names: list[str] = field(default_factory=list)
    """The models, as far as they are known; first the one that replies by default."""
    speeches: WeakSet["RemoteSpeech"] = field(default_factory=WeakSet)
    """The replies in the making, and others that something still refers to."""
    _looked: float = -KNOWN

    def look(self) -> list[str]:
        """Return the names of the models, which the server is asked for once a minute.

        Raises `ApiError` 502 if it does not tell, unless the model is given.
        """
        if self.names and time.monotonic() - self._looked < KNOWN:
            return self.names
        try:
            found = self._listed()
        except UserError as error:
            if self.model is None:
                raise ApiError(502, str(error), "remote_failed") from None
            found = []
        first = [self.model] if self.model else []
        self.names = list(dict.fromkeys([*first, *found]))[:MOST_NAMES]
        self._looked = time.monotonic()
        return self.names

    def _listed(self) -> list[str]:
        """Return the names that the server lists. Raises `UserError` if there are none."""
        data = replace(self.endpoint, timeout=LISTING).get("/models").get("data")
        rows = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
        if names := [name for one in rows if (name := _word(one.get("id"), LONGEST_NAME))]:
            return names
        raise UserError(f"The server at '{self.endpoint.base_url}' lists no models; name one with --model.")

    async def speak(
        self, model: str | None, turns: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], asker: Asker
    ) -> "RemoteSpeech":
        """Return a reply that has begun, or ended without text.

        Raises `ApiError` 502 if the server cannot be reached or refuses the request, 503 while this one shuts down.
        """
        if self.closing:
            raise ApiError(503, "This server is shutting down.", "closing")
        name = model or (await run_in_threadpool(self.look))[0]
        note_model(name)
        body = {"model": name, "messages": [_message(turn) for turn in turns], **settings}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        speech = RemoteSpeech(name, dict(settings), asker)
        self.speeches.add(speech)
        await speech.begin(self.endpoint.stream("/chat/completions", body))
        return speech

    async def ask(self, model: str, turns: list[dict[str, Any]], settings: Mapping[str, Any]) -> RecordedReply:
        """Return a whole reply, ready to store. Raises `ApiError` as `speak` does, and if the reply breaks off."""
        speech = await self.speak(model, turns, settings, Asker("rate"))
        text = "".join([piece async for piece in speech])
        made = speech.generation(time.perf_counter() - speech.asked)
        assert made is not None
        return RecordedReply(conversation="", prompt=turns, content=text, generation=made, trace=speech.trace())

    def drain(self, grace: float | None = None) -> None:
        """Accept no new requests; running replies are stopped after `grace` seconds if given."""
        self.closing = True
        if grace is not None:
            asyncio.get_running_loop().call_later(grace, self.stop)

    def stop(self) -> None:
        """Stop every reply."""
        for speech in list(self.speeches):
            speech.stop()


class RemoteSpeech:
    """A reply in the making. A thread reads its stream, to its end, or to the next event once the reply is stopped."""

    def __init__(self, model: str, settings: dict[str, Any], asker: Asker) -> None:
        self.model, self.settings, self.asker = model, settings, asker
        self.prompt_tokens: int | None = None
        self.tokens: int | None = None
        self.finish, self.fingerprint = "", ""
        self._first: float | None = None  # seconds until the first text
        self.asked = time.perf_counter()
        self._begun = self._ended = self._stopped = self._thinks = False
        self._events: asyncio.Queue[Mapping[str, Any] | Exception | None] = asyncio.Queue()
        self._text = ""  # of the first event

    async def begin(self, chunks: Iterator[dict[str, Any]]) -> None:
        """Start to read the stream, and wait for its first event. Raises `ApiError` 502 if there is none."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(chunks, loop), daemon=True).start()
        self._text = await self._next()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text piece by piece. Raises `ApiError` 502 if the reply breaks off."""
        text, self._text = self._text, ""
        while text or not self._ended:
            if text:
                yield text
            text = "" if self._ended else await self._next()

    def stop(self) -> None:
        """End the reply; without effect on one that has ended."""
        self._stopped = True
        self._events.put_nowait(None)

    def generation(self, seconds: float) -> Generation | None:
        """Return how the reply was generated; None if it has not begun."""
        if not self._begun:
            return None
        finish = self.finish or "stopped"
        return Generation(self.model, self.fingerprint, self.settings, finish, self.prompt_tokens, self.tokens, seconds)

    def trace(self) -> Trace:
        """Return who asked; the token ids are not known."""
        return Trace(
            route=self.asker.route,
            request=self.asker.request,
            key_id=self.asker.key_id,
            alias=self.asker.alias,
            prompt_ids=[],
            completion_ids=[],
            logprobs=[],
            first_seconds=self._first,
        )

    def _read(self, chunks: Iterator[dict[str, Any]], loop: asyncio.AbstractEventLoop) -> None:
        """Forward the events of the stream, then its error, or None."""
        end: Exception | None = None
        try:
            for chunk in chunks:
                if self._stopped:
                    break
                loop.call_soon_threadsafe(self._events.put_nowait, chunk)
        except Exception as error:  # of any kind: it is passed to the reader
            end = error
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(self._events.put_nowait, end)

    async def _next(self) -> str:
        """Return the text of the next event, which may be empty, as it is at the end."""
        event = await self._events.get()
        self._ended = event is None or isinstance(event, Exception)
        if isinstance(event, UserError):
            raise ApiError(502, str(event), "remote_failed")
        if isinstance(event, Exception):
            raise event
        return "" if event is None else self._take(event)

    def _take(self, event: Mapping[str, Any]) -> str:
        """Note what an event tells; return its text, with reasoning between markers."""
        self._begun = True
        self.model = _word(event.get("model"), LONGEST_NAME) or self.model
        self.fingerprint = _word(event.get("system_fingerprint"), LONGEST_FINGERPRINT) or self.fingerprint
        if isinstance(usage := event.get("usage"), Mapping):
            self.prompt_tokens = _number(usage.get("prompt_tokens"), self.prompt_tokens)
            self.tokens = _number(usage.get("completion_tokens"), self.tokens)
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
        self.finish = _word(choice.get("finish_reason"), LONGEST_FINISH) or self.finish
        delta = choice.get("delta")
        text = self._text_of(delta) if isinstance(delta, Mapping) else ""
        if text and self._first is None:
            self._first = time.perf_counter() - self.asked
        return text

    def _text_of(self, delta: Mapping[str, Any]) -> str:
        thought, text = delta.get("reasoning_content") or delta.get("reasoning"), delta.get("content")
        said = ""
        if isinstance(thought, str) and thought:
            said = thought if self._thinks else f"{THINK}\n{thought}"
            self._thinks = True
        if isinstance(text, str) and text:
            said += f"\n{THINK_END}\n\n{text}" if self._thinks else text
            self._thinks = False
        return said


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn as a message; a reply without its reasoning, which is not meant to be read again."""
    content = turn["content"]
    return {"role": turn["role"], "content": split_reasoning(content)[1] if turn["role"] == "assistant" else content}


def _word(value: Any, longest: int) -> str:
    """Return a name that the server tells in printable form; empty if it tells none."""
    return "".join(one for one in storable(value) if one.isprintable())[:longest] if isinstance(value, str) else ""


def _number(value: Any, known: int | None) -> int | None:
    """Return a number of tokens that the server tells, or else the one that is known."""
    return value if type(value) is int and 0 <= value < 2**31 else known
