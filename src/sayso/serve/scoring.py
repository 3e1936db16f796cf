"""Scores of a served reward model: POST /v1/score and /v1/rerank, in the formats of vLLM and of Jina and Cohere.

A pair is read as a conversation: the query is the user's message, the document the reply. Scores are those of
`sayso reward`: unbounded, and higher is better.
"""

import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.align.scorer import AT_ONCE, Scorer
from sayso.base.errors import UserError
from sayso.batch.by_length import by_length
from sayso.model.score import score_head
from sayso.serve.body import RequestBody, Strict
from sayso.serve.errors import ApiError, naming
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.stream import unless_left

MOST_PAIRS = 1000
_Texts = Annotated[list[str], Field(min_length=1, max_length=MOST_PAIRS)]


class RerankDocument(Strict):
    """A document as an object."""

    text: str


class RerankRequest(RequestBody):
    """The body of POST /v1/rerank."""

    model: str | None = None
    query: str
    documents: Annotated[list[str | RerankDocument], Field(min_length=1, max_length=MOST_PAIRS)]
    top_n: Annotated[int, Field(ge=0)] | None = None
    return_documents: bool | None = None


class ScoreRequest(RequestBody):
    """The body of POST /v1/score: one text against several, or as many against each other."""

    model: str | None = None
    text_1: str | _Texts
    text_2: str | _Texts


def scoring_routes(models: ServedModels) -> APIRouter:
    """Return the routes for the served models; a model that is not a reward model refuses them."""
    router = APIRouter(prefix="/v1")

    @router.post("/rerank")
    async def rerank(body: RerankRequest, request: Request) -> dict[str, Any]:
        served = models.pick(body.model)
        documents = [one if isinstance(one, str) else one.text for one in body.documents]
        scores, tokens = await _scored(
            served, body.model, [(body.query, text) for text in documents], request, "documents"
        )
        order = sorted(range(len(scores)), key=lambda place: -scores[place])[: body.top_n or None]
        results = [
            {"index": place, "relevance_score": scores[place]}
            | ({} if body.return_documents is False else {"document": {"text": documents[place]}})
            for place in order
        ]
        return _head("rerank", served.name, tokens) | {"results": results}

    @router.post("/score")
    async def score(body: ScoreRequest, request: Request) -> dict[str, Any]:
        served = models.pick(body.model)
        first, second = ([texts] if isinstance(texts, str) else texts for texts in (body.text_1, body.text_2))
        first = first * len(second) if len(first) == 1 else first
        if len(first) != len(second):
            text = (
                "'text_1' and 'text_2' must have the same number of texts, unless 'text_1' is a single one; "
                f"got {len(first)} and {len(second)}."
            )
            raise ApiError(400, text, "invalid_value", "text_1")
        scores, tokens = await _scored(served, body.model, list(zip(first, second, strict=True)), request, "text_2")
        data = [{"index": place, "object": "score", "score": value} for place, value in enumerate(scores)]
        return _head("score", served.name, tokens) | {"object": "list", "created": int(time.time()), "data": data}

    return router


async def _scored(
    served: ServedModel, model: str | None, pairs: Sequence[tuple[str, str]], request: Request, param: str
) -> tuple[list[float], int]:
    """Return the score of each pair and the number of tokens read; `ApiError` if the model has no scores.

    Errors name `param`, the field of the second texts.
    """
    served.adapter(model)
    if score_head(served.replier.model) is None:
        text = f"'{served.name}' is not a reward model; train one with `sayso reward` and serve it with --model reward."
        raise ApiError(400, text, "invalid_value", "model")
    scorer = Scorer([served.replier.model], served.replier.tokenizer)

    def read() -> list[tuple[list[int], list[int]]]:
        with naming(param):
            return [scorer.row(query, text) for query, text in pairs]

    rows = await run_in_threadpool(read)
    lengths = [len(prompt) + len(reply) for prompt, reply in rows]
    if max(lengths) > served.context:
        place = lengths.index(max(lengths))
        text = (
            f"This model's context is {served.context} tokens; pair {place}, counted from 0, has {lengths[place]}: "
            "shorten it."
        )
        raise ApiError(400, text, "context_length_exceeded", param)

    async def work() -> list[float]:  # one batch at a time, so that other requests continue in between
        found = [0.0] * len(rows)
        for batch in by_length(lengths, AT_ONCE):
            scores = await served.call(partial(scorer.members, [rows[place] for place in batch]))
            for place, value in zip(batch, scores[0], strict=True):
                found[place] = float(value)
        return found

    try:
        return await unless_left(work(), request), sum(lengths)
    except UserError as error:
        raise ApiError(400, str(error), "invalid_value", param) from error


def _head(kind: str, model: str, tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": f"{kind}-{uuid.uuid4().hex}", "model": model, "usage": usage}
