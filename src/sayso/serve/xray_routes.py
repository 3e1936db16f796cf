"""The route of the x-ray: the numbers of a panel, about a text, ids or a reply, in the page's binary format."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.feedback.generations import Generations
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.errors import ApiError
from sayso.serve.served_model import ServedModel
from sayso.serve.served_models import ServedModels
from sayso.serve.turns import Body, RowId
from sayso.serve.worker import Worker
from sayso.train.snapshots import snapshots_of
from sayso.weights.folder import load_model
from sayso.weights.lineage import read_lineage
from sayso.weights.models import models as models_of
from sayso.weights.tensors import weights_file
from sayso.xray.background import Background, background_of
from sayso.xray.examples import text_rows
from sayso.xray.view import View

KEPT = 2
"""Views that are kept, with the streams of their rows."""
ROWS = 64
"""Rows of held-out text in which examples of neurons are looked for, while the model serves nobody else."""
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
    neuron: Index | None = None
    target: Index | None = None
    contrast: Index | None = None
    first: Index | None = None
    tokens: Annotated[list[Index], Field(max_length=20)] | None = None
    count: Annotated[int, Field(ge=1, le=200)] | None = None
    changes: Annotated[list[Change], Field(max_length=200)] | None = None


class XrayBody(Body):
    """POST /api/xray: a panel, about a text, a row of ids or a stored reply."""

    panel: str
    where: Where = Where()
    text: Annotated[str, Field(max_length=100_000)] | None = None
    """Text that the model reads, after the token that begins a text."""
    ids: Annotated[list[Index], Field(min_length=1, max_length=10_000)] | None = None
    """Ids that the model reads as they are, such as those of another model's row."""
    prompt: Index | None = None
    """How many of the ids were given, and not generated; default: all."""
    message_id: RowId | None = None
    """Reply, whose prompt and tokens are read."""
    model: str | None = None
    """A served model, or another one of the life, which is opened for the x-ray alone."""


@dataclass(frozen=True)
class Named:
    """A model to look into."""

    replier: Replier
    name: str
    mark: str
    """What tells its weights from others."""
    background: Callable[[], Background]
    """Returns what the life knows of it."""


class Views:
    """The last views; a view computes for a whole row what many panels need.

    All but `learned` is used by one thread at a time.
    """

    def __init__(self) -> None:
        self._learning = threading.Lock()
        self._kept = OrderedDict[tuple[str, str, int, tuple[int, ...]], View]()

    def packed(self, model: Named, ids: list[int], prompt: int | None, body: XrayBody) -> bytes:
        """Return a panel of a row of ids. Raises `UserError` for what is not there."""
        return panel_of(self.view(model, ids, prompt), body)

    def final(self, model: Named, ids: list[int], prompt: int | None) -> View:
        """Return the view of a row of ids, which now knows what its model adds to the panel of training time."""
        view = self.view(model, ids, prompt)
        if view.background.snapshots:
            _ = view.final
        return view

    def learned(self, view: View, body: XrayBody) -> bytes:
        """Return the panel of training time, in any thread; it is computed once, however many ask for it."""
        with self._learning:
            return panel_of(view, body)

    def view(self, model: Named, ids: list[int], prompt: int | None) -> View:
        """Return the view of a row of ids, which may be known from before."""
        prompt = len(ids) if prompt is None else prompt
        if not 1 <= prompt <= len(ids):
            raise UserError(f"'prompt' must be from 1 to {len(ids)}, the number of ids; got {prompt}.")
        key = model.mark, model.name, prompt, tuple(ids)
        view = self._kept.pop(key, None)
        if view is None:
            replier = model.replier
            view = View(replier.model, replier.tokenizer, ids, model.name, prompt, model.background())
        self._kept[key] = view
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return view


def panel_of(view: View, body: XrayBody) -> bytes:
    """Return a panel of a view."""
    return view.panel(body.panel, **body.where.model_dump(exclude_none=True)).packed()


class LifeModels:
    """The models of a life that are not served, of which the one that was asked for last stays open."""

    def __init__(self, life: Life | None) -> None:
        self.life, self._lock = life, threading.Lock()
        self._open: Named | None = None
        self._views = Views()

    def folder(self, name: str) -> Path | None:
        """Return the folder of a model, or for a name such as base@500 of the weights kept after 500 of its steps."""
        model, at, step = name.partition("@")
        if self.life is None or model not in models_of(self.life):
            return None
        folder = self.life.model(model)
        if not at:
            return folder
        return next((path for number, path in snapshots_of(self.life, folder).items() if str(number) == step), None)

    def known(self, served: ServedModel) -> Background:
        """Return what the life knows of a served model: only its text if it has no model with these weights."""
        if self.life is None:
            return Background()
        folder, tokenizer = self.folder(served.name), served.replier.tokenizer
        if folder and read_lineage(folder).get("weights_sha256", "").startswith(served.fingerprint):
            return background_of(self.life, folder, tokenizer, ROWS)
        return Background(corpus=partial(text_rows, self.life.data("text"), tokenizer, ROWS))

    def packed(self, name: str, folder: Path, body: XrayBody) -> bytes:
        """Return a panel of a text or of ids in the model of a folder. Raises `UserError` for what is not there."""
        assert self.life is not None
        with self._lock:
            mark = f"{folder} {weights_file(folder).stat().st_mtime_ns}"
            if self._open is None or self._open.mark != mark:
                self._open, self._views = None, Views()  # gone before the next one is read
                replier = Replier(*load_model(folder))
                known = partial(background_of, self.life, folder, replier.tokenizer, ROWS)
                self._open = Named(replier, name, mark, known)
            ids = self._open.replier.text_ids(body.text) if body.text is not None else body.ids
            assert ids is not None
            return self._views.packed(self._open, ids, body.prompt, body)


def xray_routes(models: ServedModels, store: Store, life: Life | None = None) -> APIRouter:
    """Return the route over the served models, a store, and the other models of a life."""
    router, generations, others = APIRouter(prefix="/api"), Generations(store), LifeModels(life)
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
        ids, prompt = await run_in_threadpool(row_of, served, body)
        kept = views.setdefault(served.worker, Views())
        named = Named(served.replier, served.name, served.fingerprint, partial(others.known, served))
        if body.panel == "training":  # the weights of training are read beside the model's thread
            view = await served.call(partial(kept.final, named, ids, prompt), counts=False)
            data = await run_in_threadpool(kept.learned, view, body)
        else:
            data = await served.call(partial(kept.packed, named, ids, prompt, body), counts=False)
        return Response(data, media_type="application/octet-stream")

    def row_of(served: ServedModel, body: XrayBody) -> tuple[list[int], int | None]:
        """Return the ids of a text or a reply, and how many of them were its prompt."""
        if body.ids is not None:
            return body.ids, body.prompt
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
