"""The route of the x-ray: the numbers of a panel, about a text or a stored reply, in the page's binary format."""

from collections import OrderedDict
from functools import partial
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.feedback.generations import Generations
from sayso.feedback.store import Store
from sayso.serve.errors import ApiError
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.turns import Body, RowId
from sayso.serve.worker import Worker
from sayso.xray.view import View

KEPT = 2
"""Views that are kept, with the streams of their rows."""
Index = Annotated[int, Field(ge=0, lt=2**31)]


class Change(Body):
    """A part of the model that is switched off or taken from another text, or a stream that is steered."""

    part: Literal["head", "attention", "mlp", "steer"]
    layer: Index
    head: Index | None = None
    text: Annotated[str, Field(max_length=10_000)] | None = None
    against: Annotated[str, Field(max_length=10_000)] | None = None
    strength: Annotated[float, Field(ge=-1000, le=1000)] | None = None


class Where(Body):
    """Which part of a panel's numbers is wanted."""

    position: Index | None = None
    layer: Index | None = None
    head: Index | None = None
    target: Index | None = None
    contrast: Index | None = None
    first: Index | None = None
    tokens: Annotated[list[Index], Field(max_length=20)] | None = None
    count: Annotated[int, Field(ge=1, le=200)] | None = None
    changes: Annotated[list[Change], Field(max_length=200)] | None = None


class XrayBody(Body):
    """POST /api/xray: a panel, about a text or a stored reply."""

    panel: str
    where: Where = Where()
    text: Annotated[str, Field(max_length=100_000)] | None = None
    """Text that the model reads, after the token that begins a text."""
    message_id: RowId | None = None
    """Reply, whose prompt and tokens are read."""
    model: str | None = None


class Views:
    """The last views; a view computes for a whole row what many panels need. Used by the model's thread alone."""

    def __init__(self) -> None:
        self._kept = OrderedDict[tuple[str, tuple[int, ...]], View]()

    def packed(self, served: ServedModel, ids: list[int], prompt: int | None, body: XrayBody) -> bytes:
        """Return a panel of a row of ids. Raises `UserError` for what is not there."""
        key = served.fingerprint, tuple(ids)
        view = self._kept.pop(key, None)
        if view is None:
            replier = served.replier
            view = View(replier.model, replier.tokenizer, ids, served.name, prompt)
        self._kept[key] = view
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return view.panel(body.panel, **body.where.model_dump(exclude_none=True)).packed()


def xray_routes(models: ServedModels, store: Store) -> APIRouter:
    """Return the route over the served models and a store."""
    router, generations = APIRouter(prefix="/api"), Generations(store)
    views = WeakKeyDictionary[Worker, Views]()  # gone with a model that was replaced

    @router.post("/xray", response_class=Response)
    async def panel(body: XrayBody) -> Response:
        if (body.text is None) == (body.message_id is None):
            raise ApiError(400, "An x-ray needs either 'text' or 'message_id'.", "invalid_value", "text")
        served = models.pick(body.model)
        if served.adapter(body.model):
            text = f"'{body.model}' is an adapter; merge it into its model with 'sayso merge' to see its x-ray."
            raise ApiError(400, text, "invalid_value", "model")
        ids, prompt = await run_in_threadpool(row_of, served, body)
        kept = views.setdefault(served.worker, Views())
        data = await served.call(partial(kept.packed, served, ids, prompt, body), counts=False)
        return Response(data, media_type="application/octet-stream")

    def row_of(served: ServedModel, body: XrayBody) -> tuple[list[int], int | None]:
        """Return the ids of a text or a reply, and how many of them were its prompt."""
        if body.text is not None:
            return served.replier.text_ids(body.text), None
        assert body.message_id is not None
        said = store.message(body.message_id)
        trace = generations.trace(body.message_id)
        if said.generation is None or trace is None or not trace.completion_ids:
            raise ApiError(404, "Only a reply whose tokens were stored has an x-ray.", "not_found", "message_id")
        if said.generation.fingerprint != served.fingerprint:
            text = f"This reply was made by '{said.generation.model}', with other weights than those served now;"
            raise ApiError(409, f"{text} serve that model to see its x-ray.", "other_model", "message_id")
        return [*trace.prompt_ids, *trace.completion_ids], len(trace.prompt_ids)

    return router
