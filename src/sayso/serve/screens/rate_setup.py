"""What an admin sets up on the screen Rate: the guidelines, and lists of prompts and of pairs of replies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import FieldError
from sayso.feedback.generations import RecordedReply
from sayso.feedback.guidelines import MOST_REVIEWS, Guidelines, write_guidelines
from sayso.feedback.queue import LONGEST_NAME, GivenPair, GivenReply, add_pairs, add_prompts
from sayso.feedback.store import Store
from sayso.serve.recording import key_name
from sayso.serve.screens.rate import Words
from sayso.serve.setting_fields import settings_of, with_settings
from sayso.serve.turns import TEXT_LIMIT, Body, BodyText

Ask = Callable[[str, list[dict[str, Any]], Mapping[str, Any]], Awaitable[RecordedReply]]
"""Lets the model of a name reply to turns, with some settings."""
MOST_ROWS, MOST_TURNS = 500, 100
ListName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class TurnBody(Body):
    """A turn of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: BodyText


Prompt = BodyText | Annotated[list[TurnBody], Field(min_length=1, max_length=MOST_TURNS)]


class GuidelinesBody(Body):
    """POST /api/admin/rate/guidelines: how to rate."""

    text: BodyText
    reviews: Annotated[int, Field(ge=1, le=MOST_REVIEWS)]
    reasons: Words
    tags: Words


class PromptsBody(Body):
    """POST /api/admin/rate/prompts: prompts to which people write replies."""

    name: ListName
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=MOST_ROWS)]


class ReplyOfBody(Body):
    """A reply, and the name of what made it."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(max_length=TEXT_LIMIT)]


class PairBody(Body):
    """Two replies to a prompt."""

    prompt: Prompt
    replies: Annotated[list[ReplyOfBody], Field(min_length=2, max_length=2)]

    def given(self) -> GivenPair:
        """Return what the queue takes."""
        first, second = (GivenReply(one.model, one.text) for one in self.replies)
        return _turns(self.prompt), first, second


class PairsBody(Body):
    """POST /api/admin/rate/pairs: pairs of replies to compare."""

    name: ListName
    pairs: Annotated[list[PairBody], Field(min_length=1, max_length=MOST_ROWS)]


@with_settings()
class RepliesBody(Body):
    """POST /api/admin/rate/replies: let two served models reply to a prompt; the same one twice samples twice."""

    name: ListName
    prompt: Prompt
    models: Annotated[list[str], Field(min_length=2, max_length=2)]


def rate_setup_routes(store: Store, ask: Ask) -> APIRouter:
    """Return the routes for a store; `ask` lets a model reply."""
    router = APIRouter(prefix="/api/admin/rate")

    @router.post("/guidelines", status_code=204)
    def guidelines(body: GuidelinesBody, request: Request) -> None:
        new = Guidelines(body.text, body.reviews, tuple(body.reasons), tuple(body.tags))
        write_guidelines(store, new, key_name(request))

    @router.post("/prompts", status_code=201)
    def prompts(body: PromptsBody) -> dict[str, int]:
        return {"added": add_prompts(store, body.name, [_turns(one) for one in body.prompts])}

    @router.post("/pairs", status_code=201)
    def pairs(body: PairsBody) -> dict[str, int]:
        return {"added": add_pairs(store, body.name, [pair.given() for pair in body.pairs])}

    @router.post("/replies", status_code=201)
    async def replies(body: RepliesBody) -> dict[str, int]:
        turns, settings = _turns(body.prompt), settings_of(body)
        replies = [await ask(name, turns, settings) for name in body.models]
        first, second = (GivenReply(one.generation.model, one.content, one.generation, one.trace) for one in replies)
        return {"added": await run_in_threadpool(add_pairs, store, body.name, [(turns, first, second)])}

    return router


def _turns(prompt: str | list[TurnBody]) -> list[dict[str, Any]]:
    """Return the turns of a prompt; a text is one of the user."""
    turns = [TurnBody(role="user", content=prompt)] if isinstance(prompt, str) else prompt
    if turns[-1].role != "user" or not turns[-1].content.strip():
        raise FieldError("prompt", "A prompt must end with a turn of the user that is not empty.")
    return [turn.model_dump() for turn in turns]
