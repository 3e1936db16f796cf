"""OpenAI's first routes: /v1/models, /v1/chat/completions, /v1/completions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from sayso.reply.tools import Toolbox
from sayso.serve.answer import ApiAnswer
from sayso.serve.call_format import CallFormat
from sayso.serve.choice import ChoicePiece
from sayso.serve.echo import EchoedPrompt, echoed_prompt
from sayso.serve.errors import naming
from sayso.serve.fields import GenerationFields
from sayso.serve.infill import infill_ids
from sayso.serve.logprobs import ReportedLogprobs
from sayso.serve.openai import ChatRequest, CompletionRequest, prompts_of
from sayso.serve.recording import tools_turn
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.shapes import ChatShape, TextShape
from sayso.serve.terms import ReplyTerms
from sayso.serve.wording import CHAT, FUNCTIONS, Wording
from sayso.token.reasoning import reasoning_of

COMPLETION_TOKENS = 16  # OpenAI's default for /v1/completions


def openai_routes(models: ServedModels, created: int) -> APIRouter:
    """Return the API's routes for the served models; their list reports `created` (Unix seconds)."""
    router = APIRouter(prefix="/v1")

    def entry(served: ServedModel, name: str) -> dict[str, Any]:
        fields = {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "sayso",
            "max_model_len": served.context,
        }
        return fields | ({"parent": served.name} if name != served.name else {})

    @router.get("/models")
    async def every() -> dict[str, Any]:
        return {"object": "list", "data": [entry(served, name) for served, name in models.listed]}

    @router.get("/models/{name}")
    async def one(name: str) -> dict[str, Any]:
        served = models.pick(name)
        served.adapter(name)
        return entry(served, name)

    @router.post("/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        return await answer_chat(await models.pick_for(asked.model, request), asked, request)

    @router.post("/completions")
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        return await answer_text(await models.pick_for(asked.model, request), asked, request)

    return router


async def read_chat(
    served: ServedModel, asked: ChatRequest, *, truncate: bool = False, wording: Wording = CHAT
) -> tuple[list[int], ReplyTerms, Toolbox]:
    """Return the prompt ids of a conversation, the terms of its reply, and the tools that it may call.

    `truncate`: drop the oldest turns of a conversation that exceeds the context. `wording`: that of the errors.
    """
    wording = FUNCTIONS if asked.legacy else wording
    with wording.errors():
        prompt, terms, tools = await _read_chat(served, asked, truncate)
    return prompt, terms.renamed(wording.path), tools


async def _read_chat(served: ServedModel, asked: ChatRequest, truncate: bool) -> tuple[list[int], ReplyTerms, Toolbox]:
    adapter = served.adapter(asked.model)
    with naming("tools"):
        tools = asked.toolbox()
    variables = asked.variables(served.replier.tokenizer)
    length = served.context if asked.length is None else asked.length
    messages = [turn.plain() for turn in asked.messages]
    with naming("messages"):
        prompt = await run_in_threadpool(
            served.chat_ids,
            messages,
            tools.shown,
            opened=asked.add_generation_prompt is not False,
            continued=bool(asked.continue_final_message),
            keep=asked.truncate_prompt_tokens,
            reserve=length if truncate else None,
            variables=variables,
        )
    continued = messages[-1]["content"] if asked.continue_final_message else ""
    reasoning = reasoning_of(served.replier.tokenizer, prompt, continued)
    terms = served.reader.terms(asked, served.context, tools, reasoning)
    return prompt, replace(terms, adapter=adapter, turns=[*tools_turn(tools.shown), *messages]), tools


async def answer_chat(served: ServedModel, asked: ChatRequest, request: Request) -> Response:
    """Reply to a conversation."""
    prompt, terms, tools = await read_chat(served, asked)
    reported = reported_logprobs(served, asked)
    calls = CallFormat(asked.legacy, tools.custom) if tools.calls else None
    shape = ChatShape(reported, prompt, calls=calls, reasoning=terms.reasoning)
    answer = ApiAnswer(served, request, [prompt], terms, shape)
    if asked.stream:
        return await answer.stream(asked.options)

    def extend(body: dict[str, Any], replies: Sequence[ChoicePiece]) -> None:
        if asked.return_token_ids:
            body["prompt_token_ids"] = prompt
        if asked.prompt_logprobs is not None:
            body["prompt_logprobs"] = reported.prompt(prompt, replies[0], asked.prompt_logprobs)

    return await answer.whole(extend=extend)


async def answer_text(served: ServedModel, asked: CompletionRequest, request: Request) -> Response:
    """Continue or score prompts."""

    def infill(prompt: str | list[int], suffix: str) -> list[int]:
        with naming("suffix"):
            ids = infill_ids(served.replier.tokenizer, prompt, suffix)
        return served.text_ids(ids)

    def read() -> list[list[int]]:
        begun = asked.add_special_tokens is not False
        if asked.suffix:
            return [infill(prompt, asked.suffix) for prompt in prompts_of(asked.prompt)]
        return [
            served.text_ids(prompt, begun=begun, control=bool(asked.parse_special), keep=asked.truncate_prompt_tokens)
            for prompt in prompts_of(asked.prompt)
        ]

    def echoed(prompts: list[list[int]]) -> list[EchoedPrompt]:
        sent = [
            text if isinstance(text, str) and asked.truncate_prompt_tokens is None else None
            for text in prompts_of(asked.prompt)
        ]
        return [echoed_prompt(served.replier.tokenizer, ids, text) for ids, text in zip(prompts, sent, strict=True)]

    adapter = served.adapter(asked.model)
    prompts = await run_in_threadpool(read)
    terms, reported = served.reader.terms(asked, COMPLETION_TOKENS), reported_logprobs(served, asked)
    terms = replace(terms, adapter=adapter)
    if asked.scores:
        terms = replace(terms, stop_ids=frozenset())
    echo = await run_in_threadpool(echoed, prompts) if asked.echo else None
    answer = ApiAnswer(served, request, prompts, terms, TextShape(reported, prompts, terms.n, echo))
    if asked.stream:
        return await answer.stream(asked.options)

    def extend(body: dict[str, Any], replies: Sequence[ChoicePiece]) -> None:
        for choice, piece in zip(body["choices"], replies, strict=True):
            if asked.prompt_logprobs is not None:
                prompt = prompts[piece.index // terms.n]
                choice["prompt_logprobs"] = reported.prompt(prompt, piece, asked.prompt_logprobs)

    return await answer.whole(best=asked.best_of or 0, extend=extend)


def reported_logprobs(served: ServedModel, asked: GenerationFields) -> ReportedLogprobs:
    """Return the token details to include."""
    return ReportedLogprobs(
        served.replier.tokenizer,
        asked.tops,
        ids=bool(asked.return_token_ids),
        named_by_id=bool(asked.return_tokens_as_token_ids),
        spells_control=asked.skip_special_tokens is False,
    )
