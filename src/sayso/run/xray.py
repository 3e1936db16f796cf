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
from sayso.weights.folder import BOTH_DIRECTIONS, load_model
from sayso.weights.lineage import read_lineage
from sayso.weights.models import called, newest_model
from sayso.xray.background import background_of
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


def xray(options: Xray) -> Written:
    """Write a page that shows why a model's next token came."""
    new_file(options.out, "--out", options.replace)
    folder = newest_model(Life(options.life), options.model)
    with locked(options.out):
        new_file(options.out, "--out", options.replace)
        replier = _opened(folder, options)
        view = _view(replier, options, options.text, folder)
        save_page(view, options.out, _beside(view, replier, options, folder))
    say(f"Saved {options.out}: {options.out.stat().st_size / 1e6:,.1f} MB. Open it in a browser.")
    return Written(options.out)


def _opened(folder: Path, options: Xray) -> Replier:
    if read_lineage(folder).get("attention") == BOTH_DIRECTIONS:
        raise UserError(
            f"'{folder}' attends in both directions, and an x-ray shows models that read from left to right; compile "
            "the program with --causal."
        )
    return Replier(*load_model(folder, pick_device(options.device).kind))


def _view(replier: Replier, options: Xray, text: str, folder: Path) -> View:
    """Return the view of a text and of what the model in a folder says after it."""
    given, made = _ids(replier, options, text)
    prompt = max(len(given), len(given) + len(made) - POSITIONS + 1)  # the first that is explained
    return _of(replier, options, [*given, *made], prompt, folder)


def _of(replier: Replier, options: Xray, ids: list[int], prompt: int, folder: Path) -> View:
    known = background_of(Life(options.life), folder, replier.tokenizer, options.examples)
    return View(replier.model, replier.tokenizer, ids, called(folder), prompt, known)


def _beside(view: View, replier: Replier, options: Xray, folder: Path) -> View | None:
    """Return the view that is shown beside another one: of another text, or of the same tokens in another model."""
    if options.beside is not None:
        folder = newest_model(Life(options.life), options.beside)
        replier = _opened(folder, options)
    if options.beside_text is not None:
        return _view(replier, options, options.beside_text, folder)
    if options.beside is None:
        return None
    return _of(replier, options, view.ids[0].tolist(), view.prompt, folder)


def _ids(replier: Replier, options: Xray, text: str) -> tuple[list[int], list[int]]:
    """Return the ids of a text, and of what the model says after it."""
    messages = [{"role": "user", "content": text}]
    ids = replier.prompt_ids(messages) if options.chat else replier.text_ids(text)
    if not options.tokens:
        return ids, []
    sampling = Sampling(temperature=0, max_tokens=options.tokens)
    (made,) = generate(replier.model, [ids], sampling, replier.stop_ids)
    return ids, list(made.ids)
