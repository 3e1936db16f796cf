"""POST /v1/embeddings: a text becomes a vector, the mean of the model's last hidden states over its tokens.

A language model is no trained embedder: near vectors mean texts that it would continue alike.
"""

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from starlette.concurrency import run_in_threadpool
from torch.nn.utils.rnn import pad_sequence

from sayso.model.transformer import Transformer
from sayso.serve.body import Strict
from sayso.serve.errors import ApiError
from sayso.serve.openai import Prompts, prompts_of, some_prompts
from sayso.serve.served_model import Voice
from sayso.serve.stream import unless_left

BATCH_TOKENS = 512  # padded: replies wait no longer for a batch than for a pass of the engine


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

        async def work() -> dict[int, list[float]]:  # a batch at a time, so that others speak in between
            found: dict[int, list[float]] = {}
            for batch in batches(list(map(len, prompts))):
                vectors = await voice.call(partial(embed, voice.replier.model, [prompts[i] for i in batch], size))
                found |= zip(batch, vectors, strict=True)
            return found

        found = await unless_left(work(), request)
        coded = _base64 if asked.encoding_format == "base64" else list
        told = [coded(found[place]) for place in range(len(prompts))]
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(told)]
        used = sum(map(len, prompts))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "data": data, "model": voice.name, "usage": usage}

    return router


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of texts to go side by side, those of like length, padded to `BATCH_TOKENS` at most or alone."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    yield batch


@torch.inference_mode()
def embed(model: Transformer, texts: Sequence[Sequence[int]], size: int) -> list[list[float]]:
    """Return of each text the first `size` numbers of the mean of its last hidden states, scaled to length 1."""
    rows = [torch.tensor(ids, device=model.device) for ids in texts]
    padded = pad_sequence(rows, batch_first=True)  # after its end, where nothing of the text can see it
    real = pad_sequence([torch.ones_like(row, dtype=torch.float32) for row in rows], batch_first=True)
    means = (model.hidden(padded).float() * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    vectors: list[list[float]] = F.normalize(means[:, :size], dim=-1).tolist()
    return vectors


def _base64(vector: Sequence[float]) -> str:
    """Return the numbers as OpenAI's clients ask for them: float32, little-endian."""
    return base64.b64encode(torch.tensor(vector, dtype=torch.float32).numpy().astype("<f4").tobytes()).decode()
