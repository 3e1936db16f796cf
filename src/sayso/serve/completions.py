"""The OpenAI-compatible routes: /v1/models, /v1/chat/completions, /v1/completions.

A checked request enters, one JSON object or a stream of server-sent events leaves. Whoever goes away ends the speaking.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import nearest
from sayso.serve.choice import Piece
from sayso.serve.errors import ApiError, error_body
from sayso.serve.openai import (
    COMPLETION_TOKENS,
    Asked,
    ChatRequest,
    ChatShape,
    CompletionRequest,
    Shape,
    TextShape,
    new_head,
    usage,
)  # fmt: skip
from sayso.serve.score import Score, score
from sayso.serve.stream import EventStream, collect, event, unless_left
from sayso.serve.voice import Voice
from sayso.serve.worker import Job

Prompts = list[list[int]]


def openai_routes(voice: Voice, created: int) -> APIRouter:
    """Return the routes of the API over one voice; the model list says `created` (Unix seconds)."""
    router = APIRouter(prefix="/v1")
    entry = {"id": voice.name, "object": "model", "created": created, "owned_by": "sayso"}
    entry |= {"max_model_len": voice.context}

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [entry]}

    @router.get("/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, voice)
        return entry

    @router.post("/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        _check_model(asked.model, voice)
        prompt = await run_in_threadpool(voice.chat_ids, [turn.plain() for turn in asked.messages])
        return await _answer(voice, request, asked, [prompt], ChatShape(), voice.context)

    @router.post("/completions")
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        _check_model(asked.model, voice)
        prompts = await run_in_threadpool(lambda: [voice.text_ids(prompt) for prompt in asked.prompts])
        if asked.scores:
            return await _score(voice, request, asked, prompts)
        return await _answer(voice, request, asked, prompts, TextShape(), COMPLETION_TOKENS)

    return router


def _check_model(name: str | None, voice: Voice) -> None:
    if name is not None and name != voice.name:
        text = f"There is no model '{name[:100]}' here; this server has '{voice.name}'.{nearest(name, [voice.name])}"
        raise ApiError(404, text, "model_not_found", "model")


async def _answer(
    voice: Voice, request: Request, asked: Asked, prompts: Prompts, shape: Shape, default_tokens: int
) -> Response:
    """Continue each prompt `n` times; choices are numbered prompt by prompt, as OpenAI does."""
    job = voice.speak(prompts, asked.sampling(default_tokens), asked.choices)
    prompt_tokens = sum(map(len, prompts))
    if asked.stream:
        head = new_head(shape.chunk, shape.prefix, voice.name, voice.fingerprint)
        events = _events(job, head, shape, asked.with_usage, prompt_tokens)
        return EventStream(events, voice.worker, job)
    texts = ["" for _ in job.choices]
    ends: dict[int, Piece] = {}
    for piece in await collect(voice.worker, job, request):
        texts[piece.index] += piece.text
        if piece.finish:
            ends[piece.index] = piece
    choices = [shape.whole(index, text, ends[index].finish) for index, text in enumerate(texts)]
    used = usage(prompt_tokens, sum(end.tokens for end in ends.values()))
    head = new_head(shape.kind, shape.prefix, voice.name, voice.fingerprint)
    return JSONResponse(head | {"choices": choices, "usage": used})


async def _events(
    job: Job, head: dict[str, Any], shape: Shape, with_usage: bool, prompt_tokens: int
) -> AsyncIterator[str]:
    """Yield a stream's events; with usage, every chunk but the last says null, as OpenAI does."""
    extra = {"usage": None} if with_usage else {}
    opened: set[int] = set()
    tokens = 0

    def chunk(choice: dict[str, Any]) -> str:
        return event(head | {"choices": [choice]} | extra)

    try:
        async for piece in job:
            if piece.index not in opened:
                opened.add(piece.index)
                for choice in shape.opening(piece.index):
                    yield chunk(choice)
            if piece.text:
                yield chunk(shape.part(piece.index, piece.text))
            if piece.finish:
                tokens += piece.tokens
                yield chunk(shape.end(piece.index, piece.finish))
    except Exception:  # the status is sent already: the stream itself must say that it broke
        yield event(error_body(500, "The server failed while it was replying; its log says why."))
        raise
    if with_usage:
        yield event(head | {"choices": [], "usage": usage(prompt_tokens, tokens)})
    yield "data: [DONE]\n\n"


async def _score(voice: Voice, request: Request, asked: CompletionRequest, prompts: Prompts) -> Response:
    """Give the log-probability of each token of each prompt, and of the likeliest next one when it was asked for."""
    top, extra = asked.logprobs or 0, asked.length or 0

    async def work() -> list[Score]:  # one by one, so that others speak in between
        return [await voice.call(partial(score, voice.replier, prompt, top, extra)) for prompt in prompts]

    scores = await unless_left(work(), request)
    choices = [
        {"index": index, "text": found.text, "logprobs": found.logprobs, "finish_reason": "length"}
        for index, found in enumerate(scores)
    ]
    head = new_head("text_completion", "cmpl", voice.name, voice.fingerprint)
    return JSONResponse(head | {"choices": choices, "usage": usage(sum(map(len, prompts)), extra * len(scores))})
