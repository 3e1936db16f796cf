"""Prompts as the model reads them, without a reply: POST /apply-template and /v1/responses/input_tokens."""

from typing import Any

from fastapi import APIRouter

from sayso.serve.completions import read_chat
from sayso.serve.openai import ChatRequest
from sayso.serve.responses import ResponsesRequest
from sayso.serve.served_models import ServedModels


def prompt_routes(models: ServedModels) -> APIRouter:
    """Return the routes for the served models."""
    router = APIRouter()

    @router.post("/apply-template")
    async def apply_template(body: ChatRequest) -> dict[str, str]:
        served = models.pick(body.model)
        tokenizer = served.replier.tokenizer
        ids, _, _ = await read_chat(served, body)
        pieces = [tokenizer.control.get(one, "").encode() or tokenizer.decode_bytes([one]) for one in ids]
        return {"prompt": b"".join(pieces).decode("utf-8", "replace")}

    @router.post("/v1/responses/input_tokens")
    async def input_tokens(body: ResponsesRequest) -> dict[str, Any]:
        served = models.pick(body.model)
        served.adapter(body.model)
        chat, wording = body.chat()
        ids, _, _ = await read_chat(served, chat, wording=wording)
        return {"object": "response.input_tokens", "input_tokens": len(ids)}

    return router
