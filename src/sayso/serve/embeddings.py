"""POST /v1/embeddings: a text becomes a vector, the mean of the model's last hidden states over its tokens.

A language model is no trained embedder: near vectors mean texts that it would continue alike.
"""

import base64
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from starlette.concurrency import run_in_threadpool

from sayso.model.transformer import Transformer
from sayso.serve.body import Strict
from sayso.serve.errors import ApiError
from sayso.serve.openai import Prompts, prompts_of, some_prompts
from sayso.serve.stream import unless_left
from sayso.serve.voice import Voice


class EmbeddingRequest(Strict):
    """The body of POST /v1/embeddings."""

    model: str | None = None
    input: Annotated[Prompts, AfterValidator(some_prompts)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None


def embedding_routes(voice: Voice) -> APIRouter:
    """Return the route over one voice."""
    router = APIRouter(prefix="/v1")

    @router.post("/embeddings")
    async def embeddings(asked: EmbeddingRequest, request: Request) -> dict[str, Any]:
        if voice.adapter(asked.model):
            text = f"Vectors are the model's without an adapter; ask '{voice.name}' for them."
            raise ApiError(400, text, "invalid_value", "model")
        width = voice.replier.model.config.width
        size = asked.dimensions or width
        if size > width:
            text = f"This model's vectors have {width} numbers; 'dimensions' asks for {size}."
            raise ApiError(400, text, "invalid_value", "dimensions")

        def read() -> list[list[int]]:
            keep = asked.truncate_prompt_tokens
            return [voice.text_ids(text, keep=keep, param="input") for text in prompts_of(asked.input)]

        prompts = await run_in_threadpool(read)

        async def work() -> list[list[float]]:  # one by one, so that others speak in between
            model = voice.replier.model
            return [await voice.call(partial(embed, model, prompt, size)) for prompt in prompts]

        found = await unless_left(work(), request)
        told = [_base64(vector) if asked.encoding_format == "base64" else vector for vector in found]
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(told)]
        used = sum(map(len, prompts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "data": data, "model": voice.name, "usage": usage}

    return router


@torch.inference_mode()
def embed(model: Transformer, ids: Sequence[int], size: int) -> list[float]:
    """Return the first `size` numbers of the mean of the last hidden states over T ids, scaled to length 1."""
    hidden = model.hidden(torch.tensor([ids], device=model.device))[0].float()
    vector: list[float] = F.normalize(hidden.mean(0)[:size], dim=0).tolist()
    return vector


def _base64(vector: Sequence[float]) -> str:
    """Return the numbers as OpenAI's clients ask for them: float32, little-endian."""
    return base64.b64encode(torch.tensor(vector, dtype=torch.float32).numpy().astype("<f4").tobytes()).decode()
