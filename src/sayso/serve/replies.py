"""The page's routes for replies of the served models: the model, streaming a reply, and stopping it.

Takes a message's number; streams pieces of text, then the stored turn, as server-sent events.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.feedback.store import Generation, StoredMessage
from sayso.feedback.traces import Trace
from sayso.sample.sampling import Sampling, seeded
from sayso.sample.settings import SamplingSettings
from sayso.serve.choice import ChoicePiece
from sayso.serve.page_replies import PageReplies, ReplyInProgress
from sayso.serve.recording import Asker, asker_of, trace_of
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.setting_fields import page_controls, settings_of, with_settings
from sayso.serve.shadow import ShownReply
from sayso.serve.stream import EventStream
from sayso.serve.terms import Reader, ReplyTerms, check_least
from sayso.serve.turns import TEXT_LIMIT, Body, RowId
from sayso.serve.worker import EngineJob
from sayso.token.reasoning import reasoning_of


class PromptBody(Body):
    """What a reply of the page answers, and which model is to reply."""

    message_id: RowId
    system: Annotated[str, Field(max_length=TEXT_LIMIT)] | None = None
    """System message before the conversation."""
    model: Annotated[str, Field(max_length=200)] | None = None
    """One of the models; default: the one whose turn it is."""
    compared: bool = False
    """Whether it is shown beside replies of other models, so that asking for it says nothing about these."""

    def with_system(self, turns: list[dict[str, str]]) -> list[dict[str, str]]:
        """Return the turns of the conversation after the system message."""
        if self.system is None or not self.system.strip():
            return turns
        return [{"role": "system", "content": self.system}, *turns]


@with_settings()
class ReplyBody(PromptBody):
    """POST /api/replies: a reply to a message; a repeated request gives another one."""

    def sampling(self, reader: Reader) -> Sampling:
        """Return the settings over the defaults, with a seed, so that the reply can be reproduced."""
        settings = settings_of(self)
        check_least(settings.get("min_tokens", 0), settings.get("max_tokens", SamplingSettings.max_tokens))
        return seeded(Sampling(**settings, dry_breakers=reader.breakers() if settings.get("dry_multiplier") else ()))


class Halt(Body):
    """POST /api/stop: stop a running reply."""

    generation: str


@dataclass
class ServedSpeech:
    """A reply of a served model, or of an adapter, in the making."""

    served: ServedModel
    job: EngineJob
    sampling: Sampling
    asker: Asker
    model: str
    end: ChoicePiece | None = None
    """The last piece so far."""

    @property
    def asked(self) -> float:
        """When it was asked for, by `time.perf_counter`."""
        return self.job.choices[0].asked

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of the prompt."""
        return len(self.job.choices[0].request.prompt)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text piece by piece."""
        async for piece in self.job:
            self.end = piece
            yield piece.text

    def stop(self) -> None:
        """End the reply; without effect on one that has ended."""
        self.served.worker.stop(self.job)

    def generation(self, seconds: float) -> Generation | None:
        """Return how the reply was generated; None if it has not begun."""
        if self.end is None:
            return None
        finish = self.end.finish if self.end.finish in ("stop", "length") else "stopped"
        sampling, tokens = asdict(self.sampling), self.end.tokens
        return Generation(self.model, self.served.fingerprint, sampling, finish, self.prompt_tokens, tokens, seconds)

    def trace(self) -> Trace:
        """Return who asked, and the tokens."""
        return trace_of(self.job.choices[0], self.asker, self.served.template)


def reply_routes(replies: PageReplies, models: ServedModels) -> APIRouter:
    """Return the routes for the replies of the served models."""
    router = APIRouter(prefix="/api")
    store = replies.store

    @router.get("/model")
    def model() -> dict[str, Any]:
        facts = facts_of(models.pick())
        settings = page_controls(facts["context"])
        return facts | {"models": models.speakers, "settings": settings, "ratings": store.count_ratings()}

    @router.post("/replies")
    async def reply(wanted: ReplyBody, request: Request) -> Response:
        message = await run_in_threadpool(store.message, wanted.message_id)
        conversation = str(message.conversation_id)
        served = models.pick_by(conversation) if models.leaves_open(wanted.model) else models.pick(wanted.model)
        adapter = served.adapter(wanted.model)
        turns = wanted.with_system(await run_in_threadpool(store.prompt, wanted.message_id))
        sampling = await run_in_threadpool(wanted.sampling, served.reader)
        prompt, left_out = await run_in_threadpool(served.fit, turns, sampling.max_tokens)
        ids = await run_in_threadpool(served.chat_ids, prompt)
        reasoning = reasoning_of(served.replier.tokenizer, ids)
        name = adapter or served.name
        asker = await asker_of(request, name)
        terms = ReplyTerms(sampling, served.replier.stop_ids, reasoning=reasoning, adapter=adapter)
        speech = ServedSpeech(served, await served.speak([ids], terms), sampling, asker, name)

        def follow(stored: StoredMessage) -> None:
            if models.shadow is not None:
                shown = ShownReply(stored.id, stored.conversation_id, turns, sampling, served.name)
                models.shadow.follow(shown)

        running = ReplyInProgress(speech, wanted.message_id, turns, left_out, reasoning, follow, wanted.compared)
        replies.begin(running)
        return EventStream(replies.events(running), speech.stop, waits=speech.job.waits)

    add_stop(router, replies)
    return router


def add_stop(router: APIRouter, replies: PageReplies) -> None:
    """Add the route that stops a running reply."""

    @router.post("/stop", status_code=204)
    async def stop(halt: Halt) -> None:
        replies.halt(halt.generation)


def facts_of(served: ServedModel) -> dict[str, Any]:
    """Return what the page shows of a model."""
    return {"name": served.name, "fingerprint": served.fingerprint, "context": served.context}
