"""Act: write the page that shows why a model's next token came, as one offline file."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from sayso.base.device import pick_device
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.ranges import Options, Range
from sayso.reply.conversation import Replier
from sayso.run.results import Written
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_model
from sayso.weights.models import called, newest_model
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
    tokens: Annotated[int, Range(0, 512)] = 0
    """Tokens to generate greedily after the text; up to seven of them and the next one are explained."""
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
        replier = Replier(*load_model(folder, pick_device(options.device).kind))
        given, made = _ids(replier, options)
        prompt = max(len(given), len(given) + len(made) - POSITIONS + 1)  # the first that is explained
        view = View(replier.model, replier.tokenizer, [*given, *made], called(folder), prompt)
        save_page(view, options.out)
    say(f"Saved {options.out}: {options.out.stat().st_size / 1e6:,.1f} MB. Open it in a browser.")
    return Written(options.out)


def _ids(replier: Replier, options: Xray) -> tuple[list[int], list[int]]:
    """Return the ids of the text, and of what the model says after it."""
    messages = [{"role": "user", "content": options.text}]
    ids = replier.prompt_ids(messages) if options.chat else replier.text_ids(options.text)
    if not options.tokens:
        return ids, []
    sampling = Sampling(temperature=0, max_tokens=options.tokens)
    (made,) = generate(replier.model, [ids], sampling, replier.stop_ids)
    return ids, list(made.ids)
