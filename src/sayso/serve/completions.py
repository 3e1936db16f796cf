"""The OpenAI-compatible routes: /v1/models, /v1/chat/completions, /v1/completions.

A checked request enters, one JSON object or a stream of server-sent events leaves. Whoever goes away ends the speaking.
"""

from collections.abc import AsyncIterator, Generator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import nearest
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
from sayso.serve.stream import EventStream, collect, event, submit
from sayso.serve.voice import End, Piece, Voice
from sayso.serve.worker import Job, Worker

Prompts = list[list[int]]


def openai_routes(voice: Voice, worker: Worker, created: int) -> APIRouter:
    """Return the routes of the API over one voice and its worker; the model list says `created` (Unix seconds)."""
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
        return await _answer(voice, worker, request, asked, [prompt], ChatShape(), voice.context)

    @router.post("/completions")
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        _check_model(asked.model, voice)
        prompts = await run_in_threadpool(lambda: [voice.text_ids(prompt) for prompt in asked.prompts])
        if asked.scores:
            return await _score(voice, worker, request, asked, prompts)
        return await _answer(voice, worker, request, asked, prompts, TextShape(), COMPLETION_TOKENS)

    return router


def _check_model(name: str | None, voice: Voice) -> None:
    if name is not None and name != voice.name:
        text = f"There is no model '{name[:100]}' here; this server has '{voice.name}'.{nearest(name, [voice.name])}"
        raise ApiError(404, text, "model_not_found", "model")


async def _answer(
    voice: Voice, worker: Worker, request: Request, asked: Asked, prompts: Prompts, shape: Shape, default_tokens: int
) -> Response:
    """Continue each prompt `n` times; choices are numbered prompt by prompt, as OpenAI does."""
    sampling, n = asked.sampling(default_tokens), asked.choices

    def make() -> Generator[Piece | End]:
        for place, prompt in enumerate(prompts):
            yield from voice.speak(prompt, sampling, n, first=place * n)

    job = submit(worker, make)
    prompt_tokens = sum(map(len, prompts))
    if asked.stream:
        head = new_head(shape.chunk, shape.prefix, voice.name, voice.fingerprint)
        events = _events(job, head, shape, asked.with_usage, prompt_tokens)
        return EventStream(events, worker, job)
    texts: dict[int, list[str]] = {index: [] for index in range(len(prompts) * n)}
    ends: dict[int, End] = {}
    for item in await collect(worker, job, request):
        if isinstance(item, Piece):
            texts[item.index].append(item.text)
        else:
            ends[item.index] = item
    choices = [shape.whole(index, "".join(texts[index]), end.finish) for index, end in ends.items()]
    used = usage(prompt_tokens, sum(end.tokens for end in ends.values()))
    head = new_head(shape.kind, shape.prefix, voice.name, voice.fingerprint)
    return JSONResponse(head | {"choices": choices, "usage": used})


async def _events(
    job: Job[Piece | End], head: dict[str, Any], shape: Shape, with_usage: bool, prompt_tokens: int
) -> AsyncIterator[str]:
    """Yield a stream's events; with usage, every chunk but the last says null, as OpenAI does."""
    extra = {"usage": None} if with_usage else {}
    opened, tokens = -1, 0

    def chunk(choice: dict[str, Any]) -> str:
        return event(head | {"choices": [choice]} | extra)

    try:
        async for item in job:
            if item.index > opened:
                opened = item.index
                for choice in shape.opening(opened):
                    yield chunk(choice)
            if isinstance(item, Piece):
                yield chunk(shape.part(item.index, item.text))
            else:
                tokens += item.tokens
                yield chunk(shape.end(item.index, item.finish))
    except Exception:  # the status is sent already: the stream itself must say that it broke
        yield event(error_body(500, "The server failed while it was replying; its log says why."))
        raise
    if with_usage:
        yield event(head | {"choices": [], "usage": usage(prompt_tokens, tokens)})
    yield "data: [DONE]\n\n"


async def _score(
    voice: Voice, worker: Worker, request: Request, asked: CompletionRequest, prompts: Prompts
) -> Response:
    """Give the log-probability of each token of each prompt, and of the likeliest next one when it was asked for."""
    top, extra = asked.logprobs or 0, asked.length or 0

    def make() -> Generator[Score]:
        return (score(voice.replier, prompt, top, extra) for prompt in prompts)

    scores = await collect(worker, submit(worker, make), request)
    choices = [
        {"index": index, "text": found.text, "logprobs": found.logprobs, "finish_reason": "length"}
        for index, found in enumerate(scores)
    ]
    head = new_head("text_completion", "cmpl", voice.name, voice.fingerprint)
    return JSONResponse(head | {"choices": choices, "usage": usage(sum(map(len, prompts)), extra * len(scores))})
