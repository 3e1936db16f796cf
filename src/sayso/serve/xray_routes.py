"""The routes of the x-ray: the numbers of a panel, about a text, ids or a reply, and what can be shown beside it."""

from functools import partial
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from sayso.base.life import Life
from sayso.feedback.generations import Generations
from sayso.feedback.store import Store
from sayso.serve.errors import ApiError
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.worker import Worker
from sayso.serve.xray_bodies import XrayBody
from sayso.serve.xray_models import LifeModels, Named, Views, problems


def xray_routes(models: ServedModels, store: Store, life: Life | None = None) -> APIRouter:
    """Return the route over the served models, a store, and the other models of a life."""
    router, others = APIRouter(prefix="/api"), LifeModels(life)
    views = WeakKeyDictionary[Worker, Views]()  # gone with a model that was replaced

    @router.post("/xray", response_class=Response)
    async def panel(body: XrayBody) -> Response:
        if [body.text, body.ids, body.message_id].count(None) != 2:
            raise ApiError(400, "An x-ray needs either 'text', 'ids' or 'message_id'.", "invalid_value", "text")
        if body.model is not None and body.message_id is None:
            served_names = {name for _, name in models.listed}
            folder = None if body.model in served_names else await run_in_threadpool(others.folder, body.model)
            if folder is not None:
                data = await run_in_threadpool(others.packed, body.model, folder, body)
                return Response(data, media_type="application/octet-stream")
        served = models.pick(body.model)
        if served.adapter(body.model):
            text = f"'{body.model}' is an adapter; merge it into its model with 'sayso merge' to see its x-ray."
            raise ApiError(400, text, "invalid_value", "model")
        ids, prompt = await run_in_threadpool(row_of, store, served, body)
        kept = views.setdefault(served.worker, Views())
        named = Named(served.replier, served.name, served.fingerprint, partial(others.known, served))
        if body.panel == "training":  # the weights of training are read beside the model's thread
            view = await served.call(partial(kept.final, named, ids, prompt), counts=False)
            data = await run_in_threadpool(kept.learned, view, body)
        else:
            data = await served.call(partial(kept.packed, named, ids, prompt, body), counts=False)
        return Response(data, media_type="application/octet-stream")

    @router.get("/xray/models")
    async def beside(model: Annotated[str | None, Query(max_length=300)] = None) -> dict[str, Any]:
        named, first = {name: one for one, name in models.listed}, models.pick(model)
        found = await run_in_threadpool(problems, named, first, others, model)
        return {"models": [{"name": name, "problem": problem} for name, problem in found.items()]}

    return router


def row_of(store: Store, served: ServedModel, body: XrayBody) -> tuple[list[int], int | None]:
    """Return the ids of a text or a reply, and how many of them were its prompt."""
    if body.ids is not None:
        return body.ids, body.prompt
    if body.text is not None:
        return served.replier.text_ids(body.text), None
    assert body.message_id is not None
    said = store.message(body.message_id)
    trace = Generations(store).trace(body.message_id)
    if said.generation is None or trace is None or not trace.completion_ids:
        raise ApiError(404, "Only a reply whose tokens were stored has an x-ray.", "not_found", "message_id")
    if said.generation.fingerprint != served.fingerprint:
        text = f"This reply was made by '{said.generation.model}', with other weights than those served now;"
        raise ApiError(409, f"{text} serve that model to see its x-ray.", "other_model", "message_id")
    return [*trace.prompt_ids, *trace.completion_ids], len(trace.prompt_ids)
