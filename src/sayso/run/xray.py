"""Act: write the page that shows why a model's next token came, as one offline file."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.ranges import Options, Range
from sayso.reply.conversation import Replier
from sayso.run.results import Written
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.weights.models import called, newest_model
from sayso.xray.background import background_of
from sayso.xray.examples import LENGTH, text_rows
from sayso.xray.opened import Vocabulary, check_alike, opened
from sayso.xray.predictions import NO_TEXT
from sayso.xray.saved import POSITIONS, save_page
from sayso.xray.view import View


@dataclass(frozen=True)
class Xray(Options):
    """Options of `sayso xray`."""

    model: str
    """Model: the name of a life's model, or the path of a model folder."""
    text: str
    """Text that the model reads; what it predicts after it is explained."""
    _: KW_ONLY
    out: Path = Path("xray.html")
    """File to write."""
    replace: bool = False
    """Overwrite the file if it exists."""
    chat: bool = False
    """Read the text as a message, in the model's chat template, and explain the first token of the reply."""
    beside: str | None = None
    """Another model that reads the same tokens, shown side by side; its tokenizer must be the same."""
    beside_text: str | None = None
    """Another text, shown side by side."""
    tokens: Annotated[int, Range(0, 512)] = 0
    """Tokens to generate greedily after the text; up to seven of them and the next one are explained."""
    examples: Annotated[int, Range(0, 10_000)] = 0
    """Rows of 64 tokens of the life's held-out text in which to find where neurons are most active; 0 = none."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    life: Path = Path("life")
    """Folder of the life."""


@dataclass(frozen=True)
class _Opened:
    """A model that is looked into."""

    replier: Replier
    folder: Path

    @property
    def named_vocabulary(self) -> tuple[str, Vocabulary]:
        """Its name, and the texts of its ids."""
        return called(self.folder), Vocabulary(self.replier.tokenizer, self.replier.model.config.vocab_size)


def xray(options: Xray) -> Written:
    """Write a page that shows why a model's next token came."""
    new_file(options.out, "--out", options.replace)
    names = [name for name in (options.model, options.beside) if name is not None]
    folders = [newest_model(Life(options.life), name) for name in names]
    with locked(options.out):
        new_file(options.out, "--out", options.replace)
        first, *others = (_open(folder, options) for folder in folders)
        for other in others:
            check_alike(first.named_vocabulary, other.named_vocabulary)
        view = _view(first, options, options.text)
        save_page(view, options.out, _beside(view, first, others, options))
    say(f"Saved {options.out}: {options.out.stat().st_size / 1e6:,.1f} MB. Open it in a browser.")
    return Written(options.out)


def _open(folder: Path, options: Xray) -> _Opened:
    """Return a model. Raises `UserError` if it cannot do what the options ask for."""
    replier, life = opened(folder, pick_device(options.device).kind), Life(options.life)
    if options.tokens and replier.model.looks_ahead:
        raise UserError(f"--tokens needs a model that writes. {NO_TEXT}")
    if options.examples and text_rows(life.data("text"), replier.tokenizer, options.examples) is None:
        raise UserError(
            f"--examples needs held-out text, but '{life.data('text')}' has too little for a row of {LENGTH} tokens; "
            "run sayso prepare with --val above 0, or omit --examples."
        )
    return _Opened(replier, folder)


def _view(model: _Opened, options: Xray, text: str) -> View:
    """Return the view of a text and of what a model says after it."""
    given, made = _ids(model.replier, options, text)
    prompt = max(len(given), len(given) + len(made) - POSITIONS + 1)  # the first that is explained
    return _of(model, options, [*given, *made], prompt)


def _of(model: _Opened, options: Xray, ids: list[int], prompt: int) -> View:
    replier, folder = model.replier, model.folder
    known = background_of(Life(options.life), folder, replier.tokenizer, options.examples)
    return View(replier.model, replier.tokenizer, ids, called(folder), prompt, known)


def _beside(view: View, first: _Opened, others: list[_Opened], options: Xray) -> View | None:
    """Return the view that is shown beside another one: of another text, or of the same tokens in another model."""
    model = others[0] if others else first
    if options.beside_text is not None:
        return _view(model, options, options.beside_text)
    return _of(model, options, view.ids[0].tolist(), view.prompt) if others else None


def _ids(replier: Replier, options: Xray, text: str) -> tuple[list[int], list[int]]:
    """Return the ids of a text, and of what the model says after it."""
    messages = [{"role": "user", "content": text}]
    ids = replier.prompt_ids(messages) if options.chat else replier.text_ids(text)
    if not options.tokens:
        return ids, []
    sampling = Sampling(temperature=0, max_tokens=options.tokens)
    (made,) = generate(replier.model, [ids], sampling, replier.stop_ids)
    return ids, list(made.ids)
