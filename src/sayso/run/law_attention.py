"""Act: rebuild one attention head by hand, in numbers, as a drawing, and as a Python script."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.output import console
from sayso.base.ranges import Amount, Options, Range
from sayso.law.attention import HandmadeHead, rebuild_head
from sayso.law.attention_script import script_of
from sayso.reply.conversation import Replier
from sayso.report.attention import drawn
from sayso.weights.folder import load_model
from sayso.weights.models import called, newest_model
from sayso.weights.quantize.layers import QuantizedLinear

SHOWN = 12


@dataclass(frozen=True)
class Attention(Options):
    """Options of `sayso law attention`."""

    model: str
    """Model: the name of a life's model, or the path of a model folder."""
    text: str
    """Text that the model reads."""
    _: KW_ONLY
    layer: Amount = 0
    """Layer of the head, from 0."""
    head: Amount = 0
    """Head, from 0."""
    position: Annotated[int, Range(-(10**6), 10**6)] = -1
    """Position whose attention is printed; from the end if negative."""
    out: Path | None = None
    """SVG file to draw the attention of all positions into."""
    python: Path | None = None
    """Python file to write: the same computation step by step, which checks itself against the model."""
    replace: bool = False
    """Overwrite the files if they exist."""
    life: Path = Path("life")
    """Folder of the life."""


@dataclass(frozen=True)
class Rebuilt:
    """The head, and how far it is from the model's own."""

    head: HandmadeHead
    difference: float


def attention(options: Attention) -> Rebuilt:
    """Rebuild one attention head by hand."""
    for path, flag in ((options.out, "--out"), (options.python, "--python")):
        if path is not None:
            new_file(path, flag, options.replace)
    folder = newest_model(Life(options.life), options.model)
    pick_device("cpu")
    replier = Replier(*load_model(folder, "cpu"))
    ids = replier.text_ids(options.text)
    quantized = any(isinstance(module, QuantizedLinear) for module in replier.model.modules())
    if options.python is not None and quantized:
        raise UserError("--python needs a model with weights in floating point; this one is quantized.")
    found = rebuild_head(replier.model, ids, options.layer, options.head)
    if not -len(ids) <= options.position < len(ids):
        raise UserError(f"--position must be from {-len(ids)} to {len(ids) - 1} here; got {options.position}.")
    texts = [_text(replier, token) for token in ids]
    _show(found, texts, options.position % len(ids), replier.model.config.head_size)
    say(f"Difference from the model's own, at most: {found.difference:.2g}.")
    name = f"head {options.layer}.{options.head} of {called(folder)}"
    if options.out is not None:
        write_atomic(options.out, drawn(found.weights.tolist(), texts, f"Attention of {name}"))
        say(f"Saved {options.out}.")
    if options.python is not None:
        script = script_of(replier.model, options.model, str(options.life), ids, options.layer, options.head)
        write_atomic(options.python, script)
        say(f"Saved {options.python}.")
    return Rebuilt(found, found.difference)


def _show(head: HandmadeHead, texts: list[str], position: int, size: int) -> None:
    """Print where a position looks, with the numbers that lead there."""
    weights = head.weights[position]
    order = weights[: position + 1].argsort(descending=True).tolist()[:SHOWN]
    table = Table("position", "token", "q · k", f"score (√D = {size**0.5:.2f})", "weight", "|value|", box=None)
    for at in order:
        numbers = (head.dots[position, at], head.scores[position, at], weights[at], head.v[at].norm())
        table.add_row(str(at), Text(texts[at]), *(f"{float(number):.4f}" for number in numbers))
    say(f"Position {position}, {texts[position]}, looks at:")
    console().print(table)
    rest = 1 - float(weights[order].sum())
    if rest > 0.0005:
        say(f"All other positions together: {rest:.4f}.")
    say(f"It writes a vector of length {float(head.written[position].norm()):.4f} into the stream.")


def _text(replier: Replier, token: int) -> str:
    """Return the text of a token, quoted, so that blanks show."""
    tokenizer = replier.tokenizer
    return tokenizer.control.get(token) or repr(tokenizer.decode_bytes([token]).decode("utf-8", "backslashreplace"))
