"""The models that the x-ray looks into, served or opened for it, and the last rows of tokens in each."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.reply import Replier
from sayso.serve.served_model import ServedModel
from sayso.serve.xray_bodies import XrayBody
from sayso.train.snapshots import snapshots_of
from sayso.weights.lineage import read_lineage
from sayso.weights.models import models as models_of
from sayso.weights.tensors import weights_file
from sayso.xray.background import Background, background_of
from sayso.xray.examples import text_rows
from sayso.xray.opened import Vocabulary, opened, problems_beside, vocabulary_of
from sayso.xray.view import View

KEPT = 2
"""Views that are kept, with the streams of their rows."""
ROWS = 64
"""Rows of held-out text in which examples of neurons are looked for, while the model serves nobody else."""


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

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of its models, by name."""
        return {name: self.life.model(name) for name in models_of(self.life)} if self.life else {}

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
                replier = opened(folder)
                known = partial(background_of, self.life, folder, replier.tokenizer, ROWS)
                self._open = Named(replier, name, mark, known)
            ids = self._open.replier.text_ids(body.text) if body.text is not None else body.ids
            assert ids is not None
            views, view = self._views, self._views.view(self._open, ids, body.prompt)
            if body.panel != "training":
                return panel_of(view, body)
            views.final(self._open, ids, body.prompt)
        return views.learned(view, body)  # which reads earlier weights, while other panels are made


def problems(
    named: dict[str, ServedModel], served: ServedModel, others: LifeModels, model: str | None
) -> dict[str, str | None]:
    """Return why each model cannot be shown beside one, None if it can: those that are served, and the life's.

    The one is `model` if that is one of the life that is not served, else `served`.
    """
    folder = None if model is None or model in named else others.folder(model)
    first = vocabulary_of(folder) if folder else vocabulary_in(served)
    found = {name: _served_problem(one, name, first) for name, one in named.items()}
    return found | problems_beside({name: path for name, path in others.folders.items() if name not in named}, first)


def vocabulary_in(served: ServedModel) -> Vocabulary:
    """Return the vocabulary of a served model."""
    return Vocabulary(served.replier.tokenizer, served.replier.model.config.vocab_size)


def _served_problem(served: ServedModel, name: str, first: Vocabulary) -> str | None:
    """Return why a served model cannot be shown beside one with a vocabulary, None if it can."""
    if served.adapter(name):
        return "it is an adapter; merge it into its model with 'sayso merge'"
    own = vocabulary_in(served)
    same = own == first or own.texts == first.texts
    return None if same else "it has another tokenizer"
