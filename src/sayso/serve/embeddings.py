"""POST /v1/embeddings: a text becomes a vector, the mean of the model's last hidden states over its tokens.

A language model is not trained to embed: vectors are close if the model would continue the texts alike.
"""

import base64
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from starlette.concurrency import run_in_threadpool

from sayso.batch.by_length import by_length
from sayso.reply.embed import embed
from sayso.serve.body import RequestBody, rule
from sayso.serve.errors import ApiError
from sayso.serve.openai import Prompts, prompts_of, some_prompts
from sayso.serve.served_models import ServedModels
from sayso.serve.stream import unless_left

BATCH_TOKENS = 512  # padded: a batch delays replies no longer than a pass of the engine


def some_texts(texts: Prompts) -> Prompts:
    """Reject what `some_prompts` rejects, and empty texts, as OpenAI does."""
    if any(len(text) == 0 for text in prompts_of(some_prompts(texts))):
        raise rule("must not have an empty text", texts)
    return texts


class EmbeddingRequest(RequestBody):
    """The body of POST /v1/embeddings."""

    model: str | None = None
    input: Annotated[Prompts, AfterValidator(some_texts)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None


def embedding_routes(models: ServedModels) -> APIRouter:
    """Return the route for the served models."""
    router = APIRouter(prefix="/v1")

    @router.post("/embeddings")
    async def embeddings(asked: EmbeddingRequest, request: Request) -> dict[str, Any]:
        served = models.pick(asked.model)
        if served.adapter(asked.model):
            text = f"Embeddings come from the base model without an adapter; use the model '{served.name}'."
            raise ApiError(400, text, "invalid_value", "model")
        width = served.replier.model.config.width
        size = asked.dimensions or width
        if size > width:
            text = f"This model's embeddings have {width} dimensions; got 'dimensions': {size}."
            raise ApiError(400, text, "invalid_value", "dimensions")

        def read() -> list[list[int]]:
            keep = asked.truncate_prompt_tokens
            return [served.text_ids(text, keep=keep, param="input") for text in prompts_of(asked.input)]

        prompts = await run_in_threadpool(read)

        def vectors(texts: Sequence[Sequence[int]], size: int) -> list[list[float]]:
            several: list[list[float]] = embed(served.replier.model, texts, size).tolist()
            return several

        async def work() -> dict[int, list[float]]:  # one batch at a time, so that other replies continue in between
            found: dict[int, list[float]] = {}
            for batch in by_length(list(map(len, prompts)), BATCH_TOKENS):
                several = await served.call(partial(vectors, [prompts[i] for i in batch], size))
                found |= zip(batch, several, strict=True)
            return found

        found = await unless_left(work(), request)
        coded = _base64 if asked.encoding_format == "base64" else list
        coded_vectors = [coded(found[place]) for place in range(len(prompts))]
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(coded_vectors)]
        used = sum(map(len, prompts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "data": data, "model": served.name, "usage": usage}

    return router


def _base64(vector: Sequence[float]) -> str:
    """Return the numbers in OpenAI's base64 format: float32, little-endian."""
    return base64.b64encode(torch.tensor(vector, dtype=torch.float32).numpy().astype("<f4").tobytes()).decode()
